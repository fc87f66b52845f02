// The table of brokers, and of robots, replicas and actors of scripts and of other hosts; also of
// robots that a stop names and that nothing tells of, so that they can be released.

import { because } from "./actors.js";
import { StopButton } from "./estop.js";
import { duration, make, milliseconds, reasons, robotTone, seconds, setState, setText, sum, uplink } from "./words.js";

// A robot and a replica may have one name: a row is that of a kind and a name.
export function kindOf(guest) {
  if ("users" in guest) return "broker";
  if ("actor" in guest) return "actor";
  if ("capacity" in guest) return "replica";
  return "fps" in guest ? "robot" : "away";
}

export class GuestRow {
  constructor(guest, say) {
    const { name } = guest;
    this.isRobot = ["robot", "away"].includes(kindOf(guest));
    this.state = make("span", { class: "state" });
    const cell = () => make("td");
    [this.where, this.service, this.figures, this.why] = [cell(), cell(), cell(), cell()];
    this.why.className = "why";
    this.stop = new StopButton(name, say);
    this.commands = make("td", { class: "do" });
    this.element = make(
      "tr", { "data-guest": name, "data-kind": kindOf(guest) },
      make("th", { scope: "row" }, name), this.where, this.service,
      make("td", { class: "is" }, this.state), this.figures, this.why, this.commands,
    );
  }

  show(guest) {
    // An actor that a person stopped is as intended.
    setState(this.state, guest.state, this.isRobot ? robotTone(guest.state) : undefined);
    this.element.dataset.tone = this.state.dataset.tone;
    setText(this.where, guest.where);
    setText(this.service, guest.service ?? guest.kind ?? "");
    setText(this.figures, figuresOf(guest));
    setText(this.why, [because(guest), ...(guest.warnings ?? [])].filter(Boolean).join("; "));
    this.why.title = this.why.textContent;
    if (!this.isRobot) return;
    // That of a port's client no stop reaches.
    if (guest.stoppable) this.commands.replaceChildren(this.stop.element);
    else this.commands.replaceChildren();
    this.stop.show(Boolean(guest.estop));
  }

  remove() {
    this.element.remove();
  }
}

function figuresOf(guest) {
  const figures = { broker: ofBroker, actor: ofActor, replica: ofReplica, robot: ofRobot, away: ofAway };
  return figures[kindOf(guest)](guest);
}

function ofAway() {
  return "nothing tells of it now: a stop by this name is in force";
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
