// The buttons of a robot whose episodes are recorded, and of one that a person may take over.

import { command } from "./stream.js";
import { make } from "./words.js";

const EPISODE = {
  "Start episode": "episode-start",
  Success: "episode-success",
  Failure: "episode-failure",
  "Re-record": "episode-rerecord",
};

export class EpisodeButtons {
  constructor(name, say) {
    this.name = name;
    this.say = say;
    this.takeOver = this.#button("Take over", "take-over");
    this.takeOver.title = "The teleoperator commands the robot, until Resume or Pause.";
    this.episode = Object.entries(EPISODE).map(([label, verb]) => this.#button(label, verb));
    this.element = make("div", { class: "episodes" }, this.takeOver, ...this.episode);
  }

  show(robot) {
    this.takeOver.hidden = !robot.teleop || robot.manual;
    for (const button of this.episode) button.hidden = !robot.recording;
    this.element.hidden = !robot.teleop && !robot.recording;
  }

  #button(label, verb) {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", async () => {
      button.disabled = true;
      this.say(await command(`api/robots/${this.name}/${verb}`, `${verb} ${this.name}`));
      button.disabled = false;
    });
    return button;
  }
}
