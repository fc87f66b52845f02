// One robot's card: state, figures, timeline, cameras, buttons.

import { command, token } from "./stream.js";
import { Timeline } from "./timeline.js";
import { make, microseconds, milliseconds, setState, setText, sum } from "./words.js";

const CAMERA_MS = 500;
const OLD_MS = 1000;
const FIGURES = {
  plan: (r) => [`${r.plan_s?.toFixed(2) ?? "–"} s`],
  latency: (r) => [milliseconds(r.request_latency_ms.p50), `p99 ${milliseconds(r.request_latency_ms.p99)}`],
  "tick p99": (r) => [microseconds(r.tick_lateness_us.p99), `max ${microseconds(r.tick_lateness_us.max)}`],
  missed: (r) => [`${r.missed_ticks}`, `machine ${r.missed_ticks_machine}`],
  stalled: (r) => [`${r.stalled_ticks}`, "ticks"],
  dropped: (r) => [`${sum(r.dropped)}`, `of ${r.requests}`],
  done: (r) => [`${r.successes ?? "–"}`, `of ${r.episodes} tried`],
};

export class RobotCard {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.state = make("span", { class: "state", role: "status", "data-of": name });
    this.task = make("p", { class: "task" });
    this.pause = this.#button("Pause", () => (this.paused ? "resume" : "pause"));
    this.reset = this.#button("Reset", () => "reset");
    this.figures = new Map(Object.keys(FIGURES).map((key) => [key, make("dd")]));
    this.canvas = make("canvas", { role: "img" });
    this.timeline = new Timeline(this.canvas);
    this.cameras = new Map();
    this.gallery = make("div", { class: "cameras" });
    const pairs = [...this.figures].map(([key, dd]) => make("div", {}, make("dt", {}, key), dd));
    this.element = make(
      "article", { "aria-label": `robot ${name}`, "data-robot": name },
      make("div", {}, make("h3", {}, name), this.state, make("span", { class: "grow" }), this.pause, this.reset),
      this.task, make("dl", {}, ...pairs), this.canvas, this.gallery,
    );
    this.seen = true;
    new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; }).observe(this.element);
  }

  get visible() {
    return this.seen && !document.hidden;
  }

  show(robot) {
    this.paused = robot.paused ?? robot.state === "PAUSED";
    setState(this.state, robot.state);
    setText(this.task, robot.reason || robot.task || "");
    setText(this.pause, this.paused ? "Resume" : "Pause");
    for (const [key, dd] of this.figures) {
      const [figure, note] = FIGURES[key](robot);
      setText(dd, "");
      dd.append(figure, ...(note ? [" ", make("small", {}, note)] : []));
    }
    const plan = robot.plan_s?.toFixed(1) ?? "unknown";
    const label = `Timeline of ${this.name}: ${robot.state}, plan ${plan} seconds`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }

  showCameras(names) {
    for (const name of names) {
      if (this.cameras.has(name)) continue;
      const view = new CameraView(this, name);
      this.cameras.set(name, view);
      this.gallery.append(view.element);
    }
    for (const [name, view] of this.cameras) {
      if (names.includes(name)) continue;
      view.end();
      this.cameras.delete(name);
    }
  }

  remove() {
    this.showCameras([]);
    this.element.remove();
  }

  #button(label, verb) {
    const button = make("button", { type: "button" }, label);
    button.disabled = !token;
    button.addEventListener("click", async () => {
      const what = verb();
      button.disabled = true;
      this.say(await command(`api/robots/${this.name}/${what}`, `${what} ${this.name}`));
      button.disabled = false;
    });
    return button;
  }
}

class CameraView {
  constructor(card, name) {
    this.card = card;
    this.path = `api/camera/${card.name}/${name}.jpg`;
    this.image = make("img", { alt: `camera ${name} of ${card.name}` });
    this.age = make("span");
    this.element = make(
      "figure", {},
      make("div", { class: "view" }, this.image),
      make("figcaption", {}, make("span", {}, name), this.age),
    );
    this.#next();
  }

  end() {
    this.ended = true;
    this.element.remove();
    URL.revokeObjectURL(this.image.src);
  }

  async #next() {
    if (this.ended) return;
    if (this.card.visible) await this.#load();
    setTimeout(() => this.#next(), CAMERA_MS);
  }

  async #load() {
    try {
      const answer = await fetch(this.path, { signal: AbortSignal.timeout(3000) });
      if (!answer.ok) throw new Error(await answer.text());
      const age = Number(answer.headers.get("x-frame-age-ms"));
      const shown = this.image.src;
      this.image.src = URL.createObjectURL(await answer.blob());
      this.image.dataset.frame = answer.headers.get("x-frame");
      URL.revokeObjectURL(shown);
      setText(this.age, age < OLD_MS ? `${age} ms old` : `${(age / 1000).toFixed(0)} s old`);
      this.age.className = age < OLD_MS ? "" : "old";
    } catch (error) {
      setText(this.age, "no picture");
      this.age.title = error.message;
      this.age.className = "old";
    }
  }
}
