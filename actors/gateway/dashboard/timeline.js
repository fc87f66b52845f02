// One robot's last minute and a half on a canvas: the fail-safe state as a strip, and below it, on
// one time axis, plan depth, request latency and tick lateness. Each lane has its title and its
// newest value above it and its scale at the left, so that nothing is cut however narrow it is.

import { microseconds, milliseconds, robotTone, seconds } from "./words.js";

const SPAN_S = 90;
const LEFT = 50;
const RIGHT = 8;
const HEAD = 15;
const STRIP = { height: 10 };
const LANES = [
  { title: "plan left to play", column: 2, ceiling: 2, write: seconds },
  { title: "request latency", column: 3, ceiling: 100, write: milliseconds },
  { title: "tick lateness, logarithmic", column: 4, ceiling: 1000, write: microseconds, log: 16 },
];
const LANE = { top: HEAD + STRIP.height + 8, height: 38, gap: 7 };
const STATE = 1;
const GAP_S = 3;

export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = [];
    // Server time minus this page's, so that the axis runs on smoothly between messages.
    this.ahead = 0;
  }

  clear() {
    this.points = [];
  }

  add(points, serverNow) {
    this.points.push(...points);
    this.ahead = serverNow - performance.now() / 1000;
    const oldest = serverNow - SPAN_S - GAP_S;
    while (this.points.length && this.points[0][0] < oldest) this.points.shift();
  }

  draw() {
    const { canvas } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const scale = window.devicePixelRatio || 1;
    if (!width) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.textBaseline = "middle";
    const now = performance.now() / 1000 + this.ahead;
    const plot = {
      pen,
      now,
      right: width - RIGHT,
      font: style.fontFamily,
      color: (name) => style.getPropertyValue(`--${name}`),
      x: (t) => LEFT + ((t - now) / SPAN_S + 1) * (width - LEFT - RIGHT),
    };
    this.#strip(plot);
    LANES.forEach((lane, k) => this.#lane(plot, lane, LANE.top + k * (HEAD + LANE.height + LANE.gap)));
    this.#axis(plot, height);
  }

  // The line above a lane: what it shows at the left, its newest value at the right.
  #head({ pen, color, right, font }, title, value, top, valueColor) {
    pen.font = `11px ${font}`;
    pen.fillStyle = color("quiet");
    pen.textAlign = "left";
    pen.fillText(title, LEFT, top + HEAD / 2);
    if (value == null) return;
    pen.font = `600 11px ${font}`;
    pen.fillStyle = color(valueColor);
    pen.textAlign = "right";
    pen.fillText(value, right, top + HEAD / 2);
  }

  #strip(plot) {
    const { pen, color, x, now } = plot;
    for (const { state, from, to } of this.#spells(now)) {
      const left = Math.max(LEFT, x(from));
      pen.fillStyle = color(`${robotTone(state)}-mark`);
      if (x(to) > left) pen.fillRect(left, HEAD, x(to) - left, STRIP.height);
    }
    const last = this.points.at(-1)?.[STATE];
    this.#head(plot, "state", last, 0, robotTone(last));
  }

  // Stretches of time in one state; a gap is where there was no message.
  #spells(now) {
    const spells = [];
    for (const [t, state] of this.points) {
      const last = spells.at(-1);
      if (last && t - last.to < GAP_S) last.to = t;
      if (last?.state !== state || last.to !== t) spells.push({ state, from: t, to: t });
    }
    const last = spells.at(-1);
    if (last) last.to = Math.min(last.to + GAP_S, now);
    return spells;
  }

  #lane(plot, lane, start) {
    const { pen, color, x, right, font } = plot;
    const top = start + HEAD;
    const bottom = top + LANE.height;
    const values = this.points.map((p) => p[lane.column]).filter((v) => v != null);
    const ceiling = Math.max(lane.ceiling, ...values);
    const height = (v) => {
      const part = lane.log
        ? Math.log2(Math.max(v, lane.log) / lane.log) / Math.log2(ceiling / lane.log)
        : v / ceiling;
      return bottom - part * LANE.height;
    };
    this.#head(plot, lane.title, lane.write(this.points.at(-1)?.[lane.column]), start, "text");
    pen.strokeStyle = color("line");
    pen.lineWidth = 1;
    pen.strokeRect(LEFT + 0.5, top + 0.5, right - LEFT - 1, LANE.height - 1);
    pen.font = `10px ${font}`;
    pen.fillStyle = color("quiet");
    pen.textAlign = "right";
    const middle = lane.log ? Math.sqrt(lane.log * ceiling) : ceiling / 2;
    const foot = lane.log ?? 0;
    for (const [value, y] of [[ceiling, top + 5], [middle, (top + bottom) / 2], [foot, bottom - 4]]) {
      pen.fillText(lane.write(value), LEFT - 5, y);
    }
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, top, right - LEFT, LANE.height);
    pen.clip();
    pen.strokeStyle = color("accent");
    pen.lineWidth = 1.5;
    pen.beginPath();
    let before = null;
    for (const point of this.points) {
      const value = point[lane.column];
      if (value == null) { before = null; continue; }
      const place = [x(point[0]), height(value)];
      if (before == null || point[0] - before > GAP_S) pen.moveTo(...place);
      else pen.lineTo(...place);
      before = point[0];
    }
    pen.stroke();
    pen.restore();
  }

  #axis({ pen, color, x, now, font }, height) {
    pen.font = `10px ${font}`;
    pen.fillStyle = color("quiet");
    for (const [ago, align] of [[90, "left"], [60, "center"], [30, "center"], [0, "right"]]) {
      pen.textAlign = align;
      pen.fillText(ago ? `−${ago} s` : "now", x(now - ago), height - 7);
    }
  }
}
