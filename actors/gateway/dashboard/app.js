// The page: shows each message of the gateway.

import { ActorRow, headings } from "./actors.js";
import { SiteStop, stopAll } from "./estop.js";
import { GuestRow, kindOf } from "./guests.js";
import { RobotCard } from "./robot.js";
import { listen, token } from "./stream.js";
import { duration, make, setState, setText } from "./words.js";

const MAX_EVENTS = 200;
const DRAW_MS = 100;
const SILENT_MS = 5000;

const $ = (id) => document.getElementById(id);
const robots = new Map();
const actors = new Map();
const guests = new Map();
let heardAt = performance.now();

const siteStop = new SiteStop($("site-stop"), say);
headings($("actor-heads"));
$("estop").addEventListener("click", () => stopAll(say));
if (token) {
  listen({ opened, heard, lost });
  setInterval(draw, DRAW_MS);
} else {
  lock("This page needs the token of the fleet.");
}

function lock(why) {
  $("locked").replaceChildren(
    `${why} Open the link that `, make("code", {}, "actorctl status"), " prints.",
  );
  $("locked").hidden = false;
  $("site").hidden = true;
  $("estop").hidden = true;
  setState($("health"), "locked", "none");
  setText($("link"), "");
}

function opened() {
  heardAt = performance.now();
  for (const card of robots.values()) card.timeline.clear();
  $("events").replaceChildren();
  setText($("link"), "live");
}

function lost(error) {
  if (error.status === 401) lock("The token of this page is not this fleet's: it was started anew.");
  else setText($("link"), "the gateway is gone; trying again");
}

function heard({ t, trouble, report, timelines, events, notes }) {
  heardAt = performance.now();
  $("trouble").hidden = !trouble;
  setText($("trouble"), trouble ? `What you see is old: ${trouble}` : "");
  if (report) {
    document.title = `${report.healthy ? "" : "✗ "}${report.fleet} · Holdfast`;
    setText($("fleet"), report.fleet);
    setText($("uptime"), `up ${duration(report.uptime_s)}`);
    const colour = report.healthy ? "good" : "bad";
    setState($("health"), report.healthy ? "healthy" : "not healthy", trouble ? "none" : colour);
    sync(actors, report.actors, $("actors"), ({ name }) => new ActorRow(name, say));
    sync(robots, report.robots, $("robots"), ({ name }) => new RobotCard(name, say));
    const { site } = report;
    const brokers = report.brokers.some((broker) => broker.address) ? report.brokers : [];
    const elsewhere = [...brokers, ...site.robots, ...site.away, ...site.replicas, ...site.actors];
    const key = (guest) => `${kindOf(guest)} ${guest.name}`;
    sync(guests, elsewhere, $("guests"), (guest) => new GuestRow(guest, say), key);
    $("elsewhere").hidden = !elsewhere.length;
    $("no-robots").hidden = Boolean(report.robots.length || site.robots.length);
    $("site").hidden = false;
    $("recordings").hidden = !report.robots.some((robot) => robot.recording);
    // Also where no robot is known: while a broker starts anew it tells of none.
    $("estop").hidden = false;
    siteStop.show(site.whole);
    attend(notes, site.whole.map((stop) => stop.name));
    for (const [name, card] of robots) card.showCameras(camerasOf(report, name));
  }
  for (const [name, points] of Object.entries(timelines)) robots.get(name)?.timeline.add(points, t);
  note(events, t);
}

// Faults, waits, warnings and stops; drops and refusals stand in the robots' own cards, and what
// those called `shown` need in a banner.
function attend(notes, shown) {
  const lines = notes.filter(({ level, who }) => level !== "lost" && !shown.includes(who));
  const list = $("notes");
  while (list.children.length > lines.length) list.lastElementChild.remove();
  lines.forEach(({ level, who, text }, k) => {
    if (!list.children[k]) list.append(make("li", {}, make("strong"), " ", make("span")));
    const [name, sentence] = list.children[k].children;
    list.children[k].dataset.level = level;
    setText(name, who);
    setText(sentence, text);
  });
}

// Make, update, remove and order the elements of the entries of a list; `keyOf` tells them apart.
function sync(shown, entries, parent, create, keyOf = ({ name }) => name) {
  const keys = new Set(entries.map(keyOf));
  for (const [key, item] of shown) {
    if (keys.has(key)) continue;
    item.remove();
    shown.delete(key);
  }
  entries.forEach((entry, k) => {
    const key = keyOf(entry);
    if (!shown.has(key)) shown.set(key, create(entry));
    const item = shown.get(key);
    if (parent.children[k] !== item.element) parent.insertBefore(item.element, parent.children[k] ?? null);
    item.show(entry);
  });
}

function camerasOf(report, robot) {
  return report.actors
    .filter((actor) => actor.kind === "sensor" && actor.name.startsWith(`${robot}/`))
    .map((actor) => actor.name.slice(robot.length + 1));
}

function note(events, serverNow) {
  const list = $("events");
  for (const event of events) {
    const at = new Date(Date.now() - (serverNow - event.t) * 1000);
    list.prepend(
      make(
        "li", { "data-level": event.level },
        make("time", { datetime: at.toISOString() }, at.toLocaleTimeString([], { hourCycle: "h23" })),
        make("strong", {}, event.who),
        make("span", { class: "text" }, event.text),
      ),
    );
  }
  while (list.children.length > MAX_EVENTS) list.lastElementChild.remove();
}

function draw() {
  if (performance.now() - heardAt > SILENT_MS) {
    setText($("link"), `nothing heard for ${duration((performance.now() - heardAt) / 1000)}`);
    $("health").dataset.tone = "none";
  }
  for (const card of robots.values()) if (card.visible) card.timeline.draw();
}

let silence;
function say(sentence) {
  setText($("outcome"), sentence);
  clearTimeout(silence);
  silence = setTimeout(() => setText($("outcome"), ""), 8000);
}
