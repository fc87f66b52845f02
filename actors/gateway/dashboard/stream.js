// The live connection to the gateway, and commands to it.
//
// The token comes in the address's fragment, is removed from it at once, and goes back only in a
// header: this page has no cookie that another site could make the browser send. That is also why
// events come by fetch: an EventSource sends no headers.

const KEY = "holdfast-token";
const AGAIN_MS = 1000;

export const token = takeToken();
// A new link pasted into an open page changes the fragment only, which loads nothing by itself.
addEventListener("hashchange", () => { if (takeToken() !== token) location.reload(); });

function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY);
}

// A request with the token; an answer that is not OK becomes an error with its reason.
export async function ask(path, options = {}) {
  const headers = { authorization: `Bearer ${token}`, ...options.headers };
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (!answer.ok) {
    const reason = sentence(await answer.text()) || `refused with status ${answer.status}`;
    throw Object.assign(new Error(reason), { status: answer.status });
  }
  return answer;
}

// Calls `opened` at each (re)connection, `heard` with each message, `lost` with the error while there
// is none. A gateway that restarts is worth waiting for; one that knows another token is not.
export async function listen({ opened, heard, lost }) {
  for (;;) {
    try {
      const answer = await ask("api/events");
      opened();
      await read(answer.body.pipeThrough(new TextDecoderStream()), heard);
      lost(new Error("the gateway ended the connection"));
    } catch (error) {
      lost(error);
      if (error.status === 401) return;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

// Server-sent events in the form that the gateway sends: a line of data, an empty line.
async function read(stream, heard) {
  let rest = "";
  for await (const piece of pieces(stream)) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) heard(JSON.parse(line.slice(6)));
  }
}

async function* pieces(stream) {
  const reader = stream.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) yield step.value;
}

// Sends a command, with `body` as JSON if there is one; resolves to a sentence with the outcome.
export async function command(path, what, body) {
  const json = body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  try {
    const answer = await ask(path, { method: "POST", signal: AbortSignal.timeout(10_000), ...json });
    const { result } = await answer.json();
    return `${what}: ${typeof result === "string" ? result : "done"}`;
  } catch (error) {
    return `${what}: ${error.status ? error.message : `the gateway did not answer (${error.message})`}`;
  }
}

function sentence(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim();
  }
}
