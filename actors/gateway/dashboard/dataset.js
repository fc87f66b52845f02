// The page of recorded datasets: the list of episodes, or one of them. What is shown stands in the
// address, `?dataset=NAME&episode=K`, so that links, reloads and the browser's buttons work.

import { EpisodePage } from "./episode_page.js";
import { EpisodeTable } from "./episode_table.js";
import { ask, token } from "./stream.js";
import { make, setText } from "./words.js";

const $ = (id) => document.getElementById(id);
const table = new EpisodeTable({ open: (episode) => go({ dataset: asked().dataset, episode }), fail });
const page = new EpisodePage({
  open: (episode) => go({ dataset: asked().dataset, episode }, true),
  close: () => go({ dataset: asked().dataset }),
  fail,
});
let datasets = [];

addEventListener("popstate", show);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dataset]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go({ dataset: link.dataset.dataset });
});
$("back").addEventListener("click", (event) => {
  event.preventDefault();
  go({ dataset: asked().dataset });
});

if (token) begin();
else lock("This page needs a token.");

function lock(why) {
  $("locked").replaceChildren(
    `${why} Open the link that `, make("code", {}, "actorctl status"), " or ",
    make("code", {}, "actorctl dataset view"), " prints.",
  );
  $("locked").hidden = false;
  $("site").hidden = true;
}

// An error of any request: shown until the next one that succeeds.
function fail(error) {
  if (error?.status === 401) {
    lock("The token of this page is no longer valid.");
    return;
  }
  $("trouble").hidden = !error;
  setText($("trouble"), error ? (error.status ? error.message : `Nothing answers (${error.message})`) : "");
}

async function begin() {
  try {
    const said = await (await ask("api/datasets")).json();
    ({ datasets } = said);
    $("fleet").hidden = !said.fleet;
  } catch (error) {
    fail(error);
    return;
  }
  $("site").hidden = false;
  show();
}

function asked() {
  const said = new URLSearchParams(location.search);
  const names = datasets.map(({ name }) => name);
  const dataset = names.includes(said.get("dataset")) ? said.get("dataset") : names[0];
  const number = said.get("episode");
  return { dataset, episode: number === null ? null : Number(number) };
}

function go({ dataset, episode = null }, replace = false) {
  const said = new URLSearchParams({ dataset, ...(episode !== null && { episode }) });
  history[replace ? "replaceState" : "pushState"](null, "", `?${said}`);
  show();
}

async function show() {
  const { dataset, episode } = asked();
  const one = episode !== null && dataset !== undefined;
  $("list").hidden = one;
  $("episode").hidden = !one;
  $("back").hidden = !one;
  setText($("title"), dataset ?? "recordings");
  document.title = `${one ? `Episode ${episode} · ` : ""}${dataset ?? "Recordings"} · Holdfast`;
  if (one) {
    await page.show(dataset, episode);
    return;
  }
  page.leave();
  $("datasets").replaceChildren(...datasets.map((each) => choice(each, each.name === dataset)));
  $("datasets").hidden = datasets.length < 2 && !datasets[0]?.fault;
  const chosen = datasets.find(({ name }) => name === dataset);
  setText($("figures"), chosen && !chosen.fault ? `${chosen.fps} fps, ${chosen.cameras.length ? chosen.cameras.join(", ") : "no cameras"}` : "");
  await table.show(chosen);
}

function choice({ name, path, episodes, fault }, current) {
  const link = make(
    "a", { href: `?${new URLSearchParams({ dataset: name })}`, "data-dataset": name, title: path },
    name, make("small", {}, fault ? "not readable yet" : `${episodes} episode${episodes === 1 ? "" : "s"}`),
  );
  link.classList.toggle("faulty", Boolean(fault));
  if (current) link.setAttribute("aria-current", "page");
  return link;
}
