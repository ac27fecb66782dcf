// One viewing: asks for it (the server logs it first), waits for a playable copy where one is needed, notices faults.

const POLL_MS = 700;

export class Refused extends Error {
  constructor(problem, status) {
    super(problem.title ?? "");
    this.problem = problem;
    this.status = status;
  }
}

async function json(answer) {
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(document, answer.status);
  return document;
}

/** Opens a view: when this resolves, the log holds who looks and why. */
export async function open(clip) {
  return json(await fetch(`/clips/${clip}/views`, { method: "POST", headers: { Accept: "application/json" } }));
}

export async function retry(view) {
  return json(await fetch(view.retry_url, { method: "POST", headers: { Accept: "application/json" } }));
}

export async function status(view) {
  return json(await fetch(view.status_url, { headers: { Accept: "application/json" } }));
}

/** Waits until there is something to play; tells about the progress on the way. */
export async function ready(view, tell) {
  let now = view;
  while (now.state === "pending" || now.state === "running") {
    tell(now);
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
    now = await status(view);
  }
  return { ...view, ...now };
}
