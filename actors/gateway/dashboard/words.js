// How figures and states are written, coloured and explained, the same everywhere on the page.

const TONES = {
  READY: "good", STREAMING: "good", OPEN: "good",
  STARTING: "fair", WAITING: "fair", STOPPING: "fair", DEGRADED: "fair", CONNECTING: "fair",
  MOVING: "fair", DRAINING: "fair",
  BACKOFF: "bad", STALLED: "bad", RECONNECTING: "bad", DEAD: "bad", FAILED: "bad", DOWN: "bad",
  REFUSED: "bad",
};

const STATES = {
  STREAMING: "Chunks come in time.",
  CONNECTING: "The handshake with the service is under way, or its first chunk is awaited.",
  DEGRADED: "A chunk is late; the plan still lasts.",
  STALLED: "The plan is dry: the robot holds still.",
  RECONNECTING: "The service is lost; the plan is played on while handshakes are tried.",
  DEAD: "The robot came to its safe rest for good: a person must look.",
  PAUSED: "A person paused it: nothing is asked for, nothing is played.",
  MANUAL: "A person has taken over: the teleoperator commands it, the policy does not.",
  DOWN: "There is no control process, or it has not reported yet.",
  OPEN: "It has a session, and reports no state.",
  MOVING: "Its session moves to another replica.",
  READY: "It works.",
  WAITING: "It starts when others are ready, or gone.",
  STARTING: "Its process sets itself up.",
  STOPPING: "It was asked to end, or is being killed.",
  STOPPED: "A person stopped it.",
  BACKOFF: "It failed, and starts again after a pause.",
  FAILED: "It failed too often, or a restart would not help: a person must look.",
  REFUSED: "It is refused, for the reason beside it.",
  DRAINING: "It takes no new robots and hands over those it has.",
};

export const TERMS = {
  plan: "How long the robot could play on if no chunk came any more.",
  latency: "From asking for a chunk to having it in the plan: the median, and the 99th percentile, of the last 100 requests.",
  "tick p99": "How late ticks of the control loop began: 99 of 100 ticks of the last minute began no later than this.",
  missed: "Ticks that the loop missed by itself; beside it those while the whole machine paused, as the witness process measured.",
  stalled: "Policy steps without an action although there had been a plan.",
  dropped: "Chunks that came and were not used, or did not come, by reason.",
  refused: "Commands of the policy beyond the robot's limits, not sent to it, by reason.",
  uplink: "What its requests took of the link to the broker in the last 5 s, and its limit; below, the size of the last request and the quality of its JPEGs. The limit lowers the quality first, down to 30, then the rate of requests.",
  done: "Attempts at the task that succeeded.",
  up: "Age of this process.",
  restarts: "Restarts since the fleet's start.",
  progress: "Time since the actor's own loop last turned. One that hangs is killed and started again.",
  memory: "Memory of the process.",
  process: "The process's number (pid).",
};

export function tone(state) {
  return TONES[state] ?? "none";
}

// An actor that a person stopped is as intended; a robot in that state is in its emergency stop.
export function robotTone(state) {
  return state === "STOPPED" ? "bad" : tone(state);
}

export function setState(element, state, colour = tone(state)) {
  setText(element, state);
  if (element.dataset.tone !== colour) element.dataset.tone = colour;
  if (STATES[state] && element.title !== STATES[state]) element.title = STATES[state];
}

// Changes the document only where the text differs, which spares screen readers and layout.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function seconds(value) {
  return value == null ? "–" : `${value.toFixed(2)} s`;
}

export function milliseconds(value) {
  if (value == null) return "–";
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

export function microseconds(value) {
  if (value == null) return "–";
  return value < 1000 ? `${value.toFixed(0)} µs` : milliseconds(value / 1000);
}

export function count(value, one) {
  return value == null ? "–" : `${value} ${one}${value === 1 ? "" : "s"}`;
}

export function sum(counts) {
  return Object.values(counts ?? {}).reduce((total, each) => total + each, 0);
}

// "12 expired, 3 unsent", the most first.
export function reasons(counts) {
  return Object.entries(counts ?? {})
    .filter(([, n]) => n)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, n]) => `${n} ${reason}`)
    .join(", ");
}

// An element with attributes and children, text or elements.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// What a robot's link carries: the figure and a note; null where its images stay in shared memory.
export function uplink(robot) {
  const { request_bytes: size, jpeg_quality: quality, kbps, max_kbps: most } = robot.uplink ?? {};
  if (!size || (!quality && size < 10000)) return null;
  const limited = robot.uplink_limit ? `, ${robot.uplink_limit} lowered` : "";
  const image = quality ? `quality ${quality}` : "raw";
  const limit = most ? `of ${most} · ` : "";
  return [`${kbps.toFixed(0)} kbit/s`, `${limit}${(size / 1000).toFixed(0)} kB, ${image}${limited}`];
}

// A term whose meaning appears on hover.
export function term(word, text = word) {
  return make("abbr", { title: TERMS[word] }, text);
}
