// One robot's card: state, figures, timeline, cameras, buttons.

import { EpisodeButtons } from "./episodes.js";
import { StopButton } from "./estop.js";
import { ask, command } from "./stream.js";
import { TaskField } from "./task.js";
import { Timeline } from "./timeline.js";
import {
  count, make, microseconds, milliseconds, reasons, robotTone, seconds, setState, setText, sum, term, uplink,
} from "./words.js";

const CAMERA_MS = 500;
const OLD_MS = 1000;
const REFUSING_S = 1;
const FIGURES = {
  plan: (r) => [seconds(r.plan_s), "left to play"],
  latency: (r) => [milliseconds(r.request_latency_ms.p50), `p99 ${milliseconds(r.request_latency_ms.p99)}`],
  "tick p99": (r) => [microseconds(recent(r).p99), `max ${microseconds(recent(r).max)}`],
  missed: (r) => [count(r.missed_ticks, "tick"), `+ ${r.missed_ticks_machine} by the machine`],
  stalled: (r) => [count(r.stalled_ticks, "tick")],
  dropped: (r) => [count(sum(r.dropped), "chunk"), reasons(r.dropped) || `of ${count(r.requests, "request")}`],
  refused: (r) => [count(sum(r.refused_commands), "command"), reasons(r.refused_commands)],
  uplink: (r) => uplink(r) ?? ["–", "in shared memory"],
  done: (r) => [`${r.successes ?? "–"}`, `of ${r.episodes} tried`],
};

function recent(robot) {
  return robot.tick_lateness_recent_us ?? robot.tick_lateness_us;
}

function recorded(recording) {
  if (!recording) return "";
  const { state, episode, frames, dropped, saved, encoder, reason, strategy } = recording;
  if (strategy && state === "idle") return strategy;
  if (state === "recording") return `Recording episode ${episode}: ${count(frames, "frame")}, ${dropped} dropped, ${encoder}`;
  return `Recorder ${state}, ${count(saved, "episode")} saved${reason ? `: ${reason}` : ""}`;
}

export class RobotCard {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.state = make("span", { class: "state", role: "status", "data-of": name });
    this.reason = make("p", { class: "reason" });
    this.task = new TaskField(name, say);
    this.pause = this.#button("Pause", () => (this.paused ? "resume" : "pause"));
    this.reset = this.#button("Reset", () => "reset");
    this.stop = new StopButton(name, say);
    this.recording = make("p", { class: "recording" });
    this.episodes = new EpisodeButtons(name, say);
    this.figures = new Map(Object.keys(FIGURES).map((key) => [key, make("dd")]));
    this.canvas = make("canvas", { role: "img" });
    this.timeline = new Timeline(this.canvas);
    this.cameras = new Map();
    this.gallery = make("div", { class: "cameras" });
    const pairs = [...this.figures].map(([key, dd]) => make("div", {}, make("dt", {}, term(key)), dd));
    this.element = make(
      "article", { "aria-label": `robot ${name}`, "data-robot": name },
      make("div", {}, make("h3", {}, name), this.state, make("span", { class: "grow" }), this.pause, this.reset, this.task.button, this.stop.element),
      this.reason, this.recording, this.episodes.element, this.task.present, this.task.form, make("dl", {}, ...pairs), this.canvas, this.gallery,
    );
    this.seen = true;
    new IntersectionObserver(([entry]) => { this.seen = entry.isIntersecting; }).observe(this.element);
  }

  get visible() {
    return this.seen && !document.hidden;
  }

  show(robot) {
    // A robot that a person commands is paused as to its policy: Resume gives it back.
    // One without a service has no policy to give it back to.
    const byHand = robot.manual && robot.service === "";
    this.paused = !byHand && (robot.paused ?? robot.state === "PAUSED");
    setState(this.state, robot.state, robotTone(robot.state));
    this.stop.show(Boolean(robot.estop));
    this.element.classList.toggle("stopped", Boolean(robot.estop));
    const warnings = (robot.warnings ?? []).map((text) => `Warning: ${text}`);
    const refusing = robot.refusing_s > REFUSING_S ? [`Every command is refused: ${robot.refusing}`] : [];
    setText(this.reason, [robot.reason, ...refusing, ...warnings].filter(Boolean).join("\n"));
    this.reason.dataset.tone = refusing.length ? "bad" : robot.reason ? this.state.dataset.tone : "fair";
    setText(this.recording, recorded(robot.recording));
    this.episodes.show(robot);
    this.task.show(robot.task || "");
    setText(this.pause, this.paused ? "Resume" : "Pause");
    for (const [key, dd] of this.figures) {
      const [figure, note] = FIGURES[key](robot);
      const [, number, unit] = figure.match(/^(\S+) ?(.*)$/);
      setText(dd, "");
      dd.append(number, " ", make("span", { class: "unit" }, unit));
      if (note) dd.append(" ", make("small", {}, note));
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
      const answer = await ask(this.path, { signal: AbortSignal.timeout(3000) });
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
