// The table of brokers, and of robots, replicas and actors of scripts and of other hosts.

import { because } from "./actors.js";
import { StopButton } from "./estop.js";
import { duration, make, milliseconds, reasons, robotTone, seconds, setState, setText, sum, uplink } from "./words.js";

export class GuestRow {
  constructor(name, say) {
    this.state = make("span", { class: "state" });
    const cell = () => make("td");
    [this.where, this.service, this.figures, this.why] = [cell(), cell(), cell(), cell()];
    this.why.className = "why";
    this.stop = new StopButton(name, say);
    this.commands = make("td", { class: "do" });
    this.element = make(
      "tr", { "data-guest": name },
      make("th", { scope: "row" }, name), this.where, this.service,
      make("td", { class: "is" }, this.state), this.figures, this.why, this.commands,
    );
  }

  show(guest) {
    const isRobot = "fps" in guest;
    // An actor that a person stopped is as intended.
    setState(this.state, guest.state, isRobot ? robotTone(guest.state) : undefined);
    this.element.dataset.tone = this.state.dataset.tone;
    setText(this.where, guest.where);
    setText(this.service, guest.service ?? guest.kind);
    setText(this.figures, figuresOf(guest));
    setText(this.why, [because(guest), ...(guest.warnings ?? [])].filter(Boolean).join("; "));
    this.why.title = this.why.textContent;
    if (isRobot && !this.commands.hasChildNodes()) this.commands.append(this.stop.element);
    this.stop.show(Boolean(guest.estop));
  }

  remove() {
    this.element.remove();
  }
}

function figuresOf(guest) {
  if ("users" in guest) return ofBroker(guest);
  if ("actor" in guest) return ofActor(guest);
  return "capacity" in guest ? ofReplica(guest) : ofRobot(guest);
}

function ofBroker(broker) {
  const since = broker.reachable_s == null ? "not reachable" : `reachable for ${duration(broker.reachable_s)}`;
  return `${since} · used by ${broker.users.join(", ") || "none here"}`;
}

function ofActor(actor) {
  return [
    `process ${actor.pid || "none"}`,
    `up ${duration(actor.uptime_s)}`,
    `restarts ${actor.restarts}`,
    `progress ${seconds(actor.progress_age_s)} ago`,
    `${actor.memory_mb.toFixed(0)} MB`,
  ].join(" · ");
}

function ofRobot(robot) {
  if (robot.fps == null) return "says nothing about itself";
  const dropped = reasons(robot.dropped);
  return [
    `plan ${seconds(robot.plan_s)}`,
    `${robot.fps.toFixed(1)} Hz`,
    `latency ${milliseconds(robot.latency_ms?.p50)}`,
    `missed ${robot.missed_steps} of ${robot.steps} steps`,
    `stalled ${robot.stalled_steps}`,
    `dropped ${dropped || sum(robot.dropped)}`,
    ...(uplink(robot) ? [`uplink ${uplink(robot).join(" ")}`] : []),
    ...(robot.refused ? [`refused ${robot.refused}`] : []),
  ].join(" · ");
}

function ofReplica(replica) {
  return `${replica.sessions} of ${replica.capacity} robots · load ${(100 * replica.load).toFixed(0)} %`;
}
