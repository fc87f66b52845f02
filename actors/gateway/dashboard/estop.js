// The emergency stop: one click stops, two release.

import { command } from "./stream.js";
import { make, setText } from "./words.js";

const SURE_MS = 5000;

export class StopButton {
  // `asked`: what a release asks for, if not for the robot of this name.
  constructor(name, say, asked) {
    this.name = name;
    this.say = say;
    this.asked = asked ?? { robot: name }; // not in the path: a script's may have any name, as `..`
    this.element = make("button", { type: "button", class: "estop" }, "Stop");
    this.element.addEventListener("click", () => this.#pressed());
  }

  show(stopped) {
    if (stopped !== this.stopped) this.sure = false;
    this.stopped = stopped;
    this.#draw();
  }

  // The first click of a release is forgotten.
  rest() {
    this.sure = false;
    this.#draw();
  }

  #draw() {
    const mover = this.asked.all ? "they" : "it";
    const release = this.sure ? `Release ${this.name}: ${mover} may move at once` : "Release …";
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
    if (!this.stopped) {
      this.say(await command("api/estop", "emergency stop", this.asked));
    } else if (this.sure) {
      this.sure = false;
      this.#draw();
      this.say(await command("api/release", "release", this.asked));
    } else {
      this.sure = true;
      this.#draw();
      setTimeout(() => { this.sure = false; this.#draw(); }, SURE_MS);
    }
  }
}

// The banner of a stop of the whole site: there is no row for the robots that it will hold.
export class SiteStop {
  constructor(element, say) {
    this.element = element;
    this.release = new StopButton("all robots of the site", say, { all: true });
    this.release.show(true);
    this.why = make("span");
    element.replaceChildren(this.why, this.release.element);
  }

  show(stops) {
    if (this.element.hidden) this.release.rest();
    this.element.hidden = !stops.length;
    setText(this.why, stops.map((stop) => `The whole site: ${stop.reason}`).join(""));
  }
}

// Never disabled: a second click while the first is under way stops what came meanwhile.
export async function stopAll(say) {
  say(await command("api/estop", "emergency stop"));
}
