// The list of a dataset's episodes: filters, and a page at a time.

import { ask } from "./stream.js";
import { duration, make, setText } from "./words.js";

const LIMIT = 50;
const TYPING_MS = 250;
const JUDGED = { true: ["succeeded", "good"], false: ["failed", "bad"], null: ["not judged", "none"] };
const $ = (id) => document.getElementById(id);

export function judgement(success) {
  return JUDGED[String(success)];
}

export class EpisodeTable {
  constructor({ open, fail }) {
    this.open = open;
    this.fail = fail;
    this.starts = [0];
    this.turn = 0;
    $("filters").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.#begin(), TYPING_MS);
    });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    $("earlier").addEventListener("click", () => { this.starts.pop(); this.#load(); });
    $("later").addEventListener("click", () => { this.starts.push(this.next); this.#load(); });
  }

  // Show the dataset, an entry of api/datasets; the page that was open is loaded again.
  async show(dataset) {
    if (dataset?.name !== this.dataset?.name) {
      this.starts = [0];
      $("filters").reset();
    }
    this.dataset = dataset;
    $("filters").hidden = !dataset || Boolean(dataset.fault);
    $("episodes").replaceChildren();
    if (!dataset || dataset.fault) {
      $("none").hidden = false;
      setText($("none"), dataset ? dataset.fault : "No robot of this host records: see `record` in docs/recording.md.");
      this.#foot(0, null, 0);
      return;
    }
    this.#tasks(dataset.name);
    await this.#load();
  }

  async #tasks(name) {
    try {
      const { tasks, has_success, has_interventions } = await (await ask(`api/datasets/${encodeURIComponent(name)}`)).json();
      $("tasks").replaceChildren(...tasks.map((task) => make("option", { value: task })));
      $("filters").elements.success.disabled = !has_success;
      $("filters").elements.intervention.disabled = !has_interventions;
    } catch (error) {
      this.fail(error);
    }
  }

  #begin() {
    this.starts = [0];
    this.#load();
  }

  // A search through many episodes takes several requests: each says where the next one begins.
  async #load() {
    const turn = ++this.turn;
    const wanted = new FormData($("filters"));
    const start = this.starts.at(-1);
    const found = [];
    $("episodes").replaceChildren();
    $("none").hidden = true;
    let next = start;
    let total = 0;
    try {
      while (next !== null && found.length < LIMIT) {
        const said = new URLSearchParams({ from: next, limit: LIMIT - found.length });
        for (const [name, value] of wanted) if (value) said.set(name, value);
        const path = `api/datasets/${encodeURIComponent(this.dataset.name)}/episodes?${said}`;
        const page = await (await ask(path)).json();
        if (turn !== this.turn) return;
        found.push(...page.episodes);
        $("episodes").append(...page.episodes.map((each) => this.#row(each)));
        ({ next, total } = page);
        this.#foot(found.length, next, total, true);
      }
      this.fail(null);
    } catch (error) {
      if (turn === this.turn) this.fail(error);
      return;
    }
    this.next = next;
    this.#foot(found.length, next, total);
    $("none").hidden = found.length > 0;
    if (!found.length) setText($("none"), total ? "No episode is so." : "No episode yet.");
  }

  #foot(found, next, total, searching = false) {
    $("earlier").disabled = this.starts.length < 2;
    $("later").disabled = searching || next === null;
    const looked = next ?? total;
    const words = searching && next !== null ? `looked at ${looked} of ${total} …` : `${found} shown, ${looked} of ${total} looked at`;
    setText($("where"), total ? words : "");
  }

  #row(episode) {
    const [word, tone] = judgement(episode.success);
    const link = make("a", { href: `?${new URLSearchParams({ dataset: this.dataset.name, episode: episode.episode })}` }, String(episode.episode));
    const at = episode.recorded_at ? new Date(episode.recorded_at) : null;
    const row = make(
      "tr", { "data-episode": episode.episode },
      make("th", { scope: "row" }, link),
      make("td", {}, make("span", { class: "state", "data-tone": tone }, word)),
      make("td", { class: "number", "data-term": "" }, episode.seconds < 60 ? `${episode.seconds.toFixed(1)} s` : duration(episode.seconds)),
      make("td", { class: "number", "data-term": "frames" }, String(episode.frames)),
      make("td", { class: "number", "data-term": "by hand" }, share(episode.interventions, episode.frames)),
      make("td", { class: "number", "data-term": "repeated" }, episode.repeated === null ? "–" : String(episode.repeated)),
      make("td", { class: "robot" }, episode.robot ?? ""),
      make("td", { class: "recorded" }, at ? at.toLocaleString([], { dateStyle: "short", timeStyle: "short", hourCycle: "h23" }) : ""),
      make("td", { class: "task" }, episode.tasks.join("; ")),
    );
    row.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open(episode.episode);
    });
    return row;
  }
}

function share(count, frames) {
  if (count === null) return "–";
  return count ? `${Math.max(1, Math.round((100 * count) / frames))} %` : "0";
}
