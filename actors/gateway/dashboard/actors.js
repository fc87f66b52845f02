// The table of actors: one row each, coloured by state.

import { command } from "./stream.js";
import { duration, make, setState, setText, term, tone } from "./words.js";

const COMING = ["WAITING", "STARTING"];
const CELLS = {
  up: (a) => duration(a.pid ? a.uptime_s : null),
  restarts: (a) => `${a.restarts}`,
  progress: (a) => (a.progress_age_s == null ? "–" : `${a.progress_age_s.toFixed(1)} s`),
  memory: (a) => (a.memory_mb == null ? "–" : `${a.memory_mb.toFixed(0)} MB`),
  process: (a) => (a.pid ? `${a.pid}` : "–"),
};

// The headings of the cells, each with its meaning.
export function headings(row) {
  for (const key of Object.keys(CELLS)) {
    row.append(make("th", { scope: "col", class: "number" }, term(key, key[0].toUpperCase() + key.slice(1))));
  }
  row.append(
    make("th", { scope: "col" }, "Why, or last exit"),
    make("th", { scope: "col" }, make("span", { class: "unseen" }, "Commands")),
  );
}

export class ActorRow {
  constructor(name, say) {
    this.state = make("span", { class: "state" });
    this.cells = new Map(
      Object.keys(CELLS).map((key) => [key, make("td", { class: "number", "data-term": key })]),
    );
    this.why = make("td", { class: "why" });
    const button = make("button", { type: "button", "aria-label": `restart ${name}` }, "Restart");
    button.addEventListener("click", async () => {
      button.disabled = true;
      say(await command(`api/actors/${name}/restart`, `restart ${name}`));
      button.disabled = false;
    });
    this.element = make(
      "tr", { "data-actor": name },
      make("th", { scope: "row" }, name), make("td", { class: "is" }, this.state),
      ...this.cells.values(), this.why, make("td", { class: "do" }, button),
    );
  }

  show(actor) {
    // A start after a failure keeps the colour of the failure.
    const fallen = COMING.includes(actor.state) && actor.last_exit;
    setState(this.state, actor.state, fallen ? "bad" : tone(actor.state));
    this.element.dataset.tone = this.state.dataset.tone;
    for (const [key, cell] of this.cells) setText(cell, CELLS[key](actor));
    const why = because(actor) || actor.last_error || actor.last_exit || "";
    setText(this.why, why);
    this.why.title = why;
  }

  remove() {
    this.element.remove();
  }
}

export function because(row) {
  const waits = row.waits_for && `waits for ${row.waits_for}`;
  return [row.reason, waits].filter(Boolean).join("; ");
}
