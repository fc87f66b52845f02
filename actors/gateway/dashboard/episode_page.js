// One episode: its videos, the player, where the step under the cursor is from, and the curves.

import { EpisodeClock } from "./episode_clock.js";
import { cannotPlay } from "./codecs.js";
import { EpisodeCurves } from "./episode_curves.js";
import { EpisodeImages } from "./episode_images.js";
import { judgement } from "./episode_table.js";
import { ask } from "./stream.js";
import { make, milliseconds, setState, setText } from "./words.js";

const LATE_MS = 100;
// Who commanded a row of no chunk, by the column's session. 0 is a person, or was not distinguished.
const COMMANDERS = { 0: "no policy", "-1": "a motion to a pose", "-2": "the fallback" };
const $ = (id) => document.getElementById(id);

export class EpisodePage {
  constructor({ open, close, fail }) {
    Object.assign(this, { open, close, fail });
    this.turn = 0;
    this.captions = new Map();
    this.stored = [];
    this.clock = new EpisodeClock({ changed: () => this.#changed() });
    this.curves = new EpisodeCurves($("curves"), { seek: (frame) => { this.clock.pause(); this.clock.seek(frame); } });
    const click = { play: () => this.#toggle(), "back-one": () => this.#step(-1), "on-one": () => this.#step(1), previous: () => this.#go(-1), next: () => this.#go(1) };
    for (const [id, action] of Object.entries(click)) $(id).addEventListener("click", action);
    $("seek").addEventListener("input", () => { this.clock.pause(); this.clock.seek($("seek").valueAsNumber); });
    $("speed").addEventListener("change", () => { this.clock.speed = Number($("speed").value); });
    $("zoom").addEventListener("input", () => this.curves.zoom($("zoom").valueAsNumber));
    document.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.curves.draw(true)).observe($("curves"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.curves.draw(true));
  }

  async show(dataset, number) {
    this.leave();
    const turn = ++this.turn;
    const path = `api/datasets/${encodeURIComponent(dataset)}/episodes/${number}`;
    try {
      const episode = await (await ask(path)).json();
      if (turn !== this.turn) return;
      this.episode = episode;
      this.path = path;
      this.#begin(episode);
      this.fail(null);
      // A long episode comes in several pieces.
      for (let start = 0; start < episode.frames;) {
        const piece = await (await ask(`${path}/rows?from=${start}`)).json();
        if (turn !== this.turn) return;
        this.curves.add(piece);
        start = this.curves.known;
        this.#changed();
      }
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
  }

  leave() {
    this.turn += 1;
    this.episode = null;
    this.clock.reset(30, 1);
    for (const video of $("videos").querySelectorAll("video")) {
      // Without this a browser goes on loading what is no longer shown.
      video.removeAttribute("src");
      video.load();
    }
    for (const images of this.stored) images.close();
    this.stored = [];
    $("videos").replaceChildren();
    this.captions.clear();
    this.curves.clear();
  }

  #begin(episode) {
    const [word, tone] = judgement(episode.success);
    setState($("judged"), word, tone);
    setText($("episode-title"), `Episode ${episode.episode}`);
    setText($("episode-task"), episode.tasks.join("; "));
    setText($("figures"), `${episode.frames} frames, ${episode.fps} fps${episode.robot ? `, ${episode.robot}` : ""}`);
    $("previous").disabled = episode.episode === 0;
    $("next").disabled = episode.episode + 1 >= episode.total;
    $("seek").max = episode.frames - 1;
    this.clock.reset(episode.fps, episode.frames);
    this.curves.begin(episode);
    for (const camera of episode.cameras) this.#camera(camera);
    this.#changed();
  }

  #camera({ key, name, url, from_s, why_not: whyNot, stored, codec, shape }) {
    const behind = make("span", { class: "behind" });
    const caption = make("figcaption", {}, make("span", {}, name), behind);
    const said = (why) => make("div", { class: "why-not" }, `${name}: ${why}`);
    if (stored) {
      this.#stored(key, name, shape, caption, said);
      this.captions.set(name, behind);
      return;
    }
    const refusal = url ? cannotPlay(codec) : whyNot;
    if (refusal) {
      $("videos").append(make("figure", { "data-camera": name }, said(refusal), caption));
      return;
    }
    const video = make("video", { preload: "auto", playsinline: "", "aria-label": `camera ${name}`, width: shape[1], height: shape[0] });
    video.muted = true;
    video.disablePictureInPicture = true;
    const figure = make("figure", { "data-camera": name }, video, caption);
    video.addEventListener("error", () => {
      if (!figure.isConnected) return;
      this.clock.remove(video);
      video.replaceWith(said(cannotPlay(codec, video.error?.message || "no reason given")));
    });
    video.addEventListener("loadedmetadata", () => this.clock.add(video, from_s), { once: true });
    video.src = url;
    this.captions.set(name, behind);
    $("videos").append(figure);
  }

  // Images that are in the rows, fetched one by one.
  #stored(key, name, shape, caption, said) {
    const image = make("img", { alt: `camera ${name}`, width: shape[1], height: shape[0] });
    const path = `${this.path}/image/${encodeURIComponent(key)}`;
    const images = new EpisodeImages(image, path, this.episode.frames, {
      changed: () => this.#changed(),
      failed: (error) => {
        this.clock.removeImages(images);
        this.stored = this.stored.filter((each) => each !== images);
        image.replaceWith(said(error.message));
      },
    });
    this.stored.push(images);
    this.clock.addImages(images);
    $("videos").append(make("figure", { "data-camera": name }, image, caption));
  }

  #changed() {
    const { clock, episode } = this;
    if (!episode) return;
    const { frame } = clock;
    setText($("play"), clock.playing ? "Pause" : "Play");
    if ($("seek").valueAsNumber !== frame) $("seek").value = frame;
    const total_s = episode.frames / episode.fps;
    setText($("at"), `${(frame / episode.fps).toFixed(2)} of ${total_s.toFixed(2)} s, frame ${frame}`);
    setText($("waiting"), clock.playing && clock.waiting ? "loading" : "");
    for (const images of this.stored) images.show(frame);
    this.curves.move(frame);
    this.#origin(this.curves.row(frame));
  }

  // What is known of the row: the chunk that its action is from, and how old what it was made from.
  #origin(row) {
    const pairs = [];
    if (row.seq !== undefined) {
      const from = row.seq || !(row.session in COMMANDERS);
      pairs.push(["session", from ? row.session : "none"], ["seq", from ? row.seq : "–"], ["step of the chunk", from ? row.step : "–"]);
    }
    if (row.latency_s !== undefined) pairs.push(["latency", row.latency_s ? milliseconds(1000 * row.latency_s) : "–"]);
    if (row.intervention !== undefined) pairs.push(["commanded by", row.intervention ? "a person" : COMMANDERS[row.session] ?? "the policy", row.intervention && "hand"]);
    $("origin").replaceChildren(...pairs.map(([what, value, kind]) => make(
      "div", { class: kind || "" }, make("dt", {}, what), make("dd", {}, String(value)),
    )));
    this.episode.repeated_names.forEach((name, k) => {
      const caption = this.captions.get(name);
      if (!caption) return;
      const behind = row.behind_ms?.[k];
      const repeated = row.repeated?.[k];
      setText(caption, repeated ? "repeated" : behind === undefined ? "" : behind ? `${behind.toFixed(0)} ms behind` : "newest");
      caption.classList.toggle("late", Boolean(repeated || behind > LATE_MS));
    });
  }

  #toggle() {
    if (this.clock.playing) this.clock.pause();
    else this.clock.play();
    this.#changed();
  }

  #step(frames) {
    this.clock.pause();
    this.clock.seek(this.clock.frame + frames);
  }

  #go(by) {
    const to = this.episode.episode + by;
    if (to >= 0 && to < this.episode.total) this.open(to);
  }

  #speed(by) {
    $("speed").selectedIndex = Math.max(0, Math.min($("speed").options.length - 1, $("speed").selectedIndex + by));
    $("speed").dispatchEvent(new Event("change"));
  }

  #zoom(by) {
    $("zoom").value = $("zoom").valueAsNumber + by;
    $("zoom").dispatchEvent(new Event("input"));
  }

  #key(event) {
    if (!this.episode || event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = event.target.matches("select, button, input:not([type=range])");
    if (inField && (event.key === " " || event.key.startsWith("Arrow") || event.key.length === 1)) return;
    const second = Math.round(this.episode.fps);
    const actions = {
      " ": () => this.#toggle(),
      ArrowLeft: () => this.#step(event.shiftKey ? -second : -1),
      ArrowRight: () => this.#step(event.shiftKey ? second : 1),
      Home: () => this.#step(-this.episode.frames),
      End: () => this.#step(this.episode.frames),
      "[": () => this.#speed(-1),
      "]": () => this.#speed(1),
      "+": () => this.#zoom(1),
      "=": () => this.#zoom(1),
      "-": () => this.#zoom(-1),
      p: () => this.#go(-1),
      n: () => this.#go(1),
      Escape: () => this.close(),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
