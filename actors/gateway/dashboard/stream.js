// The live connection to the gateway, and commands to it.
//
// The token comes in the address's fragment, is moved out of sight at once, and goes back only in
// the header of a command: this page has no cookie that another site could make the browser send.

const KEY = "holdfast-token";

export const token = takeToken();

function takeToken() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

// Calls `opened` at each (re)connection, `heard` with each message, `lost` while there is none.
export function listen({ opened, heard, lost }) {
  const source = new EventSource("api/events");
  source.onopen = opened;
  source.onmessage = (message) => heard(JSON.parse(message.data));
  source.onerror = () => {
    lost();
    if (source.readyState === EventSource.CLOSED) {
      // The browser gives up on some failures; a gateway that restarts is worth waiting for.
      setTimeout(() => listen({ opened, heard, lost }), 1000);
    }
  };
}

// Sends a command; resolves to a sentence about what came of it.
export async function command(path, what) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.ok) return `${what}: done`;
    const text = await answer.text();
    return `${what}: ${sentence(text) || `refused with status ${answer.status}`}`;
  } catch (error) {
    return `${what}: the gateway did not answer (${error.message})`;
  }
}

function sentence(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim();
  }
}
