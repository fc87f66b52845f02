// The emergency stop: one click stops, two release.

import { command } from "./stream.js";
import { make, setText } from "./words.js";

const SURE_MS = 5000;

export class StopButton {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.element = make("button", { type: "button", class: "estop" }, "Stop");
    this.element.addEventListener("click", () => this.#pressed());
  }

  show(stopped) {
    if (stopped !== this.stopped) this.sure = false;
    this.stopped = stopped;
    this.#draw();
  }

  #draw() {
    const release = this.sure ? `Release ${this.name}: it may move at once` : "Release …";
    setText(this.element, this.stopped ? release : "Stop");
    // In a table it stands apart from the robot's name.
    this.element.setAttribute("aria-label", this.sure ? release : `${this.element.textContent} ${this.name}`);
    this.element.classList.toggle("release", this.stopped);
    this.element.classList.toggle("sure", Boolean(this.sure));
    this.element.title = this.stopped
      ? "Lifts the emergency stop, once you have confirmed that."
      : "The emergency stop: nothing commands the robot until a person releases it.";
  }

  async #pressed() {
    const robot = { robot: this.name }; // not in the path: a script's may have any name, as `..`
    if (!this.stopped) {
      this.say(await command("api/estop", "emergency stop", robot));
    } else if (this.sure) {
      this.sure = false;
      this.#draw();
      this.say(await command("api/release", "release", robot));
    } else {
      this.sure = true;
      this.#draw();
      setTimeout(() => { this.sure = false; this.#draw(); }, SURE_MS);
    }
  }
}

// Never disabled: a second click while the first is under way stops what came meanwhile.
export async function stopAll(say) {
  say(await command("api/estop", "emergency stop"));
}
