// What a robot is asked to do, and the field that changes it.

import { command } from "./stream.js";
import { make, setText } from "./words.js";

const MAX_CHARS = 2048;

export class TaskField {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.present = make("p", { class: "task" });
    this.button = make("button", { type: "button", title: "Another task in the same episode: the motion under way goes on." }, "Task …");
    this.input = make("input", { type: "text", maxlength: MAX_CHARS, "aria-label": `another task for ${name}` });
    this.form = make("form", { class: "task" }, this.input, make("button", {}, "Give"));
    this.form.hidden = true;
    this.button.addEventListener("click", () => (this.form.hidden ? this.#open() : this.#close()));
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.#give(); });
    this.input.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#close(); });
  }

  show(task) {
    setText(this.present, task);
    if (task === this.given) this.#close();
  }

  #open() {
    this.input.value = this.present.textContent;
    this.form.hidden = false;
    this.input.select();
  }

  #close() {
    this.given = undefined;
    if (this.form.contains(document.activeElement)) this.button.focus();
    this.form.hidden = true;
  }

  // Stays open until a report has the task: what is refused can be mended.
  async #give() {
    this.given = this.input.value.trim();
    this.say(await command(`api/robots/${this.name}/task`, `task of ${this.name}`, { task: this.given }));
  }
}
