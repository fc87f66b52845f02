// The states and actions of an episode under its videos, on one axis of frames. A strip above them
// has the chunks, what a person commanded, and repeated pictures.
//
// All but the cursor is drawn once into a picture of its own, and again only when the window, the
// data or the colours are others: an episode may have many thousand frames.

const LEFT = 8;
const HEAD = 16;
const LANE = 44;
const GAP = 8;
const BANDS = { chunks: [4, 8], hand: [14, 5], repeated: [21, 5] };
const TOP = 32;
const AXIS = 18;
const SEAM_PX = 5;
const NO_CHUNK = new Set(["0", "-1", "-2"]);
const PARTS = ["session", "seq", "step", "latency_s", "intervention", "repeated", "behind_ms"];

export class EpisodeCurves {
  constructor(canvas, { seek }) {
    this.canvas = canvas;
    this.picture = document.createElement("canvas");
    const at = (event) => seek(Math.floor(this.#frame(event.offsetX)));
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.dragging = true;
      at(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (this.dragging) at(event); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.dragging = false; });
    this.clear();
  }

  clear() {
    this.columns = {};
    this.known = 0;
    this.frames = 1;
    this.lanes = [];
    this.cursor = 0;
    this.factor = this.factor ?? 1;
    this.from = 0;
  }

  // The lanes: one for each name; a name that is a state and an action has both in one.
  begin({ frames, fps, state_names: states, action_names: actions }) {
    this.clear();
    this.frames = frames;
    this.fps = fps;
    const names = [...new Set([...actions, ...states])];
    this.lanes = names.map((name) => ({ name, state: states.indexOf(name), action: actions.indexOf(name) }));
    this.canvas.style.height = `${TOP + this.lanes.length * (HEAD + LANE + GAP) + AXIS}px`;
    this.canvas.setAttribute("aria-label", `States and actions of ${names.join(", ")} over ${frames} frames`);
    this.move(0);
  }

  add({ columns, total, start }) {
    for (const [name, values] of Object.entries(columns)) {
      this.columns[name] = (this.columns[name] ?? []).slice(0, start).concat(values);
    }
    this.known = Math.max(...Object.values(this.columns).map((values) => values.length), 0) || total;
    this.draw(true);
  }

  // What is known of one frame, by the names of the columns.
  row(frame) {
    return Object.fromEntries(PARTS.map((name) => [name, this.columns[name]?.[frame]]));
  }

  zoom(power) {
    this.factor = 2 ** power;
    this.#reveal(true);
    this.draw(true);
  }

  move(frame) {
    this.cursor = frame;
    this.draw(this.#reveal(false));
  }

  get shown() {
    return Math.max(Math.min(this.frames, 10), this.frames / this.factor);
  }

  // Move the window where the cursor is outside of it; whether it did.
  #reveal(centre) {
    const { shown, cursor, from } = this;
    if (!centre && cursor >= from && cursor < from + shown) return false;
    const wanted = centre ? cursor - shown / 2 : Math.floor(cursor / shown) * shown;
    this.from = Math.max(0, Math.min(wanted, this.frames - shown));
    return true;
  }

  #x(frame) {
    return LEFT + ((frame - this.from) / this.shown) * (this.canvas.clientWidth - 2 * LEFT);
  }

  #frame(x) {
    return this.from + ((x - LEFT) / (this.canvas.clientWidth - 2 * LEFT)) * this.shown;
  }

  draw(anew) {
    const { canvas, picture } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
    if (!width || !height) return;
    const size = [Math.round(width * scale), Math.round(height * scale)];
    if (anew || canvas.width !== size[0] || canvas.height !== size[1]) {
      for (const each of [canvas, picture]) [each.width, each.height] = size;
      this.style = getComputedStyle(canvas);
      const pen = picture.getContext("2d");
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      this.#all(pen, width, height);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, ...size);
    pen.drawImage(picture, 0, 0);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.#cursor(pen, width, height);
  }

  #color(name) {
    return this.style.getPropertyValue(`--${name}`);
  }

  #all(pen, width, height) {
    const foot = height - AXIS;
    const hand = this.#spans((k) => this.columns.intervention?.[k]);
    const chunks = this.#spans((k) => this.#chunk(k));
    pen.globalAlpha = 0.6;
    this.#band(pen, hand, "fair-fill", [TOP - 4, foot - TOP]);
    pen.globalAlpha = 1;
    const wide = chunks.length && (width * this.frames) / this.shown / chunks.length > SEAM_PX;
    pen.fillStyle = this.#color("line");
    if (wide) for (const [from] of chunks.slice(1)) pen.fillRect(this.#x(from), TOP - 4, 1, foot - TOP);
    chunks.forEach((span, k) => this.#band(pen, [span], k % 2 ? "chunk-next" : "chunk", BANDS.chunks));
    this.#band(pen, hand, "fair-mark", BANDS.hand);
    this.#band(pen, this.#spans((k) => this.columns.repeated?.[k]?.some(Boolean)), "bad-mark", BANDS.repeated);
    this.lanes.forEach((lane, k) => this.#lane(pen, lane, TOP + k * (HEAD + LANE + GAP), width));
    this.#axis(pen, width, height);
  }

  #chunk(k) {
    const { session, seq, intervention } = this.columns;
    if (!seq || k >= seq.length || (seq[k] === 0 && NO_CHUNK.has(session[k])) || intervention?.[k]) return null;
    return `${session[k]} ${seq[k]}`;
  }

  // Runs of frames with the same value that is not false: [from, to, value].
  #spans(value) {
    const spans = [];
    for (let k = 0; k < this.known; k += 1) {
      const found = value(k);
      const last = spans.at(-1);
      if (last && last[1] === k && last[2] === found) last[1] = k + 1;
      else if (found) spans.push([k, k + 1, found]);
    }
    return spans;
  }

  #band(pen, spans, tone, [top, height]) {
    pen.fillStyle = this.#color(tone);
    for (const [from, to] of spans) {
      const [left, right] = [Math.max(this.#x(from), LEFT), this.#x(to)];
      if (right > LEFT) pen.fillRect(left, top, Math.max(right - left, 1), height);
    }
  }

  #range(lane) {
    const all = this.#series(lane).flatMap(({ values }) => values).filter((v) => v !== null);
    const [low, high] = all.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    if (low > high) return [0, 1];
    return high - low < 1e-9 ? [low - 0.5, high + 0.5] : [low, high];
  }

  #series(lane) {
    return ["state", "action"]
      .filter((kind) => lane[kind] >= 0 && this.columns[kind])
      .map((kind) => ({ kind, values: this.columns[kind].map((row) => row[lane[kind]]) }));
  }

  #lane(pen, lane, start, width) {
    const [low, high] = this.#range(lane);
    const top = start + HEAD;
    const y = (v) => top + LANE - 2 - ((v - low) / (high - low)) * (LANE - 4);
    pen.font = `11px ${this.style.fontFamily}`;
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    pen.fillStyle = this.#color("quiet");
    pen.fillText(`${lane.name}   ${written(low)} to ${written(high)}`, LEFT, start + HEAD / 2);
    pen.strokeStyle = this.#color("line");
    pen.strokeRect(LEFT + 0.5, top + 0.5, width - 2 * LEFT - 1, LANE - 1);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, top, width - 2 * LEFT, LANE);
    pen.clip();
    for (const { kind, values } of this.#series(lane)) this.#trace(pen, values, y, kind === "state" ? "accent" : "action");
    pen.restore();
  }

  // Where several frames share a pixel, the line goes through their least and their greatest.
  #trace(pen, values, y, tone) {
    const first = Math.max(0, Math.floor(this.from));
    const last = Math.min(values.length, Math.ceil(this.from + this.shown) + 1);
    const step = Math.max(1, Math.floor(this.shown / (2 * this.canvas.clientWidth)));
    pen.strokeStyle = this.#color(tone);
    pen.lineWidth = 1.5;
    pen.beginPath();
    let drawing = false;
    for (let k = first; k < last; k += step) {
      const some = values.slice(k, k + step).filter((v) => v !== null);
      if (!some.length) { drawing = false; continue; }
      for (const v of step === 1 ? some : [Math.min(...some), Math.max(...some)]) {
        if (drawing) pen.lineTo(this.#x(k + 0.5), y(v));
        else pen.moveTo(this.#x(k + 0.5), y(v));
        drawing = true;
      }
    }
    pen.stroke();
  }

  #axis(pen, width, height) {
    pen.font = `10px ${this.style.fontFamily}`;
    pen.fillStyle = this.#color("quiet");
    pen.textBaseline = "middle";
    for (const [part, align] of [[0, "left"], [0.25, "center"], [0.5, "center"], [0.75, "center"], [1, "right"]]) {
      pen.textAlign = align;
      const at_s = (this.from + part * this.shown) / this.fps;
      pen.fillText(`${at_s.toFixed(this.shown / this.fps < 20 ? 2 : 0)} s`, LEFT + part * (width - 2 * LEFT), height - AXIS / 2);
    }
  }

  #cursor(pen, width, height) {
    const x = this.#x(this.cursor + 0.5);
    pen.fillStyle = this.#color("text");
    pen.fillRect(x - 0.75, 0, 1.5, height - AXIS);
    pen.font = `600 11px ${this.style.fontFamily}`;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    this.lanes.forEach((lane, k) => {
      let right = width - LEFT;
      for (const kind of ["action", "state"]) {
        const value = lane[kind] >= 0 ? this.columns[kind]?.[this.cursor]?.[lane[kind]] : undefined;
        if (value === undefined) continue;
        pen.fillStyle = this.#color(kind === "state" ? "accent" : "action");
        pen.fillText(written(value), right, TOP + k * (HEAD + LANE + GAP) + HEAD / 2);
        right -= Math.max(60, pen.measureText(written(value)).width + 12);
      }
    });
  }
}

function written(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}
