// One robot's last minute and a half on a canvas: the fail-safe state as a strip, and below it, on
// one time axis, plan depth, request latency and tick lateness.

import { microseconds, milliseconds, tone } from "./words.js";

const SPAN_S = 90;
const LEFT = 92;
const RIGHT = 64;
const STRIP = { top: 4, height: 16 };
const LANES = [
  { title: "plan", column: 2, ceiling: 2, write: (v) => `${v.toFixed(2)} s` },
  { title: "latency", column: 3, ceiling: 100, write: milliseconds },
  { title: "tick lateness", column: 4, ceiling: 1000, write: microseconds, log: 16 },
];
const LANE = { top: 30, height: 44, gap: 8 };
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
    const color = (name) => style.getPropertyValue(`--${name}`);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = `11px ${style.fontFamily}`;
    pen.textBaseline = "middle";
    const now = performance.now() / 1000 + this.ahead;
    const x = (t) => LEFT + ((t - now) / SPAN_S + 1) * (width - LEFT - RIGHT);
    this.#strip(pen, color, x, now);
    LANES.forEach((lane, k) => this.#lane(pen, color, x, lane, LANE.top + k * (LANE.height + LANE.gap), width));
    this.#axis(pen, color, x, now, height);
  }

  #strip(pen, color, x, now) {
    const middle = STRIP.top + STRIP.height / 2;
    pen.fillStyle = color("quiet");
    pen.textAlign = "right";
    pen.fillText("state", LEFT - 8, middle);
    for (const { state, from, to } of this.#spells(now)) {
      const left = Math.max(LEFT, x(from));
      pen.fillStyle = color(`${tone(state)}-mark`);
      if (x(to) > left) pen.fillRect(left, STRIP.top, x(to) - left, STRIP.height);
    }
    const last = this.points.at(-1);
    if (!last) return;
    pen.fillStyle = color(tone(last[STATE]));
    pen.textAlign = "left";
    pen.save();
    pen.font = `600 9px ${getComputedStyle(this.canvas).fontFamily}`;
    pen.fillText(last[STATE], x(now) + 4, middle);
    pen.restore();
  }

  // Stretches of time in one state; a gap is where nothing was heard.
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

  #lane(pen, color, x, lane, top, width) {
    const bottom = top + LANE.height;
    const values = this.points.map((p) => p[lane.column]).filter((v) => v != null);
    const ceiling = Math.max(lane.ceiling, ...values);
    const height = (v) => {
      const part = lane.log
        ? Math.log2(Math.max(v, lane.log) / lane.log) / Math.log2(ceiling / lane.log)
        : v / ceiling;
      return bottom - part * LANE.height;
    };
    pen.strokeStyle = color("line");
    pen.lineWidth = 1;
    pen.strokeRect(LEFT + 0.5, top + 0.5, width - LEFT - RIGHT - 1, LANE.height - 1);
    pen.fillStyle = color("quiet");
    pen.textAlign = "right";
    pen.fillText(lane.title, LEFT - 8, top + LANE.height / 2);
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, top, width - LEFT - RIGHT, LANE.height);
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
    pen.textAlign = "left";
    pen.fillStyle = color("quiet");
    pen.fillText(lane.write(ceiling), width - RIGHT + 4, top + 6);
    const last = this.points.at(-1)?.[lane.column];
    if (last != null) {
      pen.fillStyle = color("text");
      pen.fillText(lane.write(last), width - RIGHT + 4, Math.max(top + 20, Math.min(height(last), bottom - 5)));
    }
  }

  #axis(pen, color, x, now, height) {
    pen.fillStyle = color("quiet");
    pen.textAlign = "center";
    for (const ago of [90, 60, 30, 0]) {
      pen.fillText(ago ? `−${ago} s` : "now", x(now - ago), height - 6);
    }
  }
}
