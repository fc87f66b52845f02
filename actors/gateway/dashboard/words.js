// How figures and states are written and coloured, the same everywhere on the page.

const TONES = {
  READY: "good", STREAMING: "good",
  STARTING: "fair", WAITING: "fair", BACKOFF: "bad", DEGRADED: "fair", CONNECTING: "fair",
  STALLED: "bad", RECONNECTING: "bad", DEAD: "bad", FAILED: "bad", DOWN: "bad", STOPPING: "bad",
};

export function tone(state) {
  return TONES[state] ?? "none";
}

export function setState(element, state, colour = tone(state)) {
  setText(element, state);
  if (element.dataset.tone !== colour) element.dataset.tone = colour;
}

// Touches the document only where something changed: screen readers and layout stay quiet.
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

export function milliseconds(value) {
  if (value == null) return "–";
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

export function microseconds(value) {
  if (value == null) return "–";
  return value < 1000 ? `${value.toFixed(0)} µs` : milliseconds(value / 1000);
}

export function sum(counts) {
  return Object.values(counts ?? {}).reduce((total, count) => total + count, 0);
}

// An element with attributes and children, text or elements.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
