// The player of a clip's page. The native <video> decodes; this module logs the view first, then drives it.

import { Frames } from "./frames.js";
import { Transport } from "./transport.js";
import { Refused, open, ready, retry, status } from "./viewing.js";

const root = document.querySelector("[data-player]");
const words = JSON.parse(root.dataset.words);
const part = (name) => root.querySelector(`[data-${name}]`);
const video = part("video");
const startedAt = performance.now();

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_all, name) => values[name] ?? "");

function say(...lines) {
  const message = part("message");
  message.replaceChildren(...lines.filter(Boolean).map((line) => {
    if (line instanceof Element) return line;
    const paragraph = document.createElement("p");
    const [text, kind] = Array.isArray(line) ? line : [line, ""];
    paragraph.textContent = text;
    paragraph.className = kind;
    return paragraph;
  }));
}

function retryButton(act = () => location.reload()) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words.retry;
  button.addEventListener("click", act);
  return button;
}

function progressBar(part_done) {
  const bar = document.createElement("progress");
  bar.max = 1;
  if (part_done > 0) bar.value = part_done;
  bar.setAttribute("aria-label", words.making);
  return bar;
}

function tellProgress(now) {
  const percent = Math.round((now.progress ?? 0) * 100);
  const eta = now.eta_s === null || now.eta_s === undefined ? null : Math.max(1, Math.ceil(now.eta_s));
  const how = now.state === "pending" ? words.waiting
    : eta === null ? fill(words.making_soon, { percent })
      : fill(words.making_progress, { percent, eta });
  say(words.making, now.reason_text && [fill(words.making_reason, { reason: now.reason_text }), "dim"],
    progressBar(now.progress ?? 0), [how, "dim"]);
}

function tellRefusal(error) {
  root.dataset.state = "refused";
  if (!(error instanceof Refused)) return say([words.network, "bad"], retryButton());
  if (error.status === 401) return say([words.signed_out, "bad"]);
  if (error.status === 403) return say([words.expired, "bad"], retryButton());
  if (error.status === 507 || error.status >= 500) {
    return say([words.refused_log, "bad"], [error.problem.title, ""], [error.problem.remedy, "dim"], [error.problem.detail, "dim"]);
  }
  return say([words.refused, "bad"], [error.problem.title, ""], [error.problem.remedy, "dim"]);
}

function showSources(view) {
  // Safari-class browsers start long progressive files late or never, but byte-range HLS at once; the others are the
  // opposite. Both lists name the same bytes.
  const appleFirst = "WebKitPlaybackTargetAvailabilityEvent" in window;
  const sources = appleFirst ? [...view.sources].reverse() : view.sources;
  for (const { src, type } of sources) {
    const source = document.createElement("source");
    source.src = src;
    source.type = type;
    video.append(source);
  }
  video.lastElementChild.addEventListener("error", () => faulted(view));
  video.addEventListener("error", () => faulted(view));
  video.hidden = false;
  video.load();
}

function tellFault({ fault }) {
  root.dataset.state = "fault";
  say([words.fault, "bad"], [words.fault_text, ""], [fault, "dim"]);
}

async function faulted(view) {
  if (root.dataset.state === "stopped" || root.dataset.state === "fault") return;
  root.dataset.state = "stopped";
  video.pause();
  try {
    const now = await status(view);
    if (now.fault) tellFault(now);
    else say([words.network, "bad"], retryButton());
  } catch (error) {
    tellRefusal(error);
  }
  video.hidden = true;
}

async function autoplay(transport) {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    try {
      await video.play();
      transport.toast(words.muted_start);
    } catch {
      video.muted = false;
      const button = part("big-play");
      button.hidden = false;
      button.addEventListener("click", () => video.play());
      video.addEventListener("play", () => { button.hidden = true; }, { once: true });
    }
  }
}

function firstFrame() {
  const seen = () => {
    root.dataset.state = "playing";
    root.dataset.firstFrameMs = String(Math.round(performance.now() - startedAt));
    say();
  };
  if (root.dataset.media === "audio" || !video.requestVideoFrameCallback) video.addEventListener("loadeddata", seen, { once: true });
  else video.requestVideoFrameCallback(seen);
}

async function play(view) {
  say(words.loading);
  part("controls").hidden = false;
  const transport = new Transport(root, video, words);
  firstFrame();
  const from = Number.parseFloat(new URLSearchParams(location.search).get("t") ?? "");
  if (from > 0) video.addEventListener("loadedmetadata", () => { video.currentTime = from; }, { once: true });
  showSources(view);
  autoplay(transport);
  transport.useFrames(view.frames_url ? await Frames.load(view.frames_url) : null);
}

function showImage(view) {
  const image = part("image");
  image.addEventListener("load", () => { root.dataset.state = "playing"; say(); });
  image.addEventListener("error", () => faulted(view));
  image.src = view.sources[0].src;
  image.hidden = false;
}

function showOriginal(view) {
  const form = part("original");
  form.action = view.export_url;
  form.hidden = false;
  if (view.document_url) {
    const link = part("document");
    link.href = view.document_url;
    link.hidden = false;
  }
}

function showNothing(view) {
  root.dataset.state = view.state === "failed" ? "failed" : "nothing";
  if (view.document_url) return say([root.dataset.name, "name"], part("document"));
  return say(view.state === "failed" ? words.failed : words.unplayable,
    view.reason_text && [view.reason_text, "dim"], view.error && [view.error, "dim"], [words.offer_original, "dim"],
    view.retry_url && retryButton(() => retry(view).then((now) => show({ ...view, ...now })).catch(tellRefusal)));
}

/** Adds this very viewing to the history below, which was written before it. */
function noteInHistory({ line }) {
  const list = document.querySelector("[data-history]");
  if (!list || !line) return;
  const item = document.createElement("li");
  for (const [tag, name, text] of [["a", "index", `#${line.index}`], ["time", "", line.at], ["span", "who", line.who], ["span", "what", line.words]]) {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    item.append(element);
  }
  item.firstChild.href = `/log/entries/${line.index}.json`;
  list.append(item);
}

async function start() {
  const view = await open(root.dataset.clip);
  part("logged").textContent = fill(words.logged, { index: `#${view.index}` });
  root.dataset.view = view.view;
  noteInHistory(view);
  showOriginal(view);
  await show(view);
}

async function show(opened) {
  const view = await ready(opened, tellProgress);
  if (view.fault) return tellFault(view);
  if (view.state !== "ready" || view.sources.length === 0) return showNothing(view);
  part("how").textContent = [view.from_original ? words.from_original : words.from_copy, ...view.notes].join(" ");
  if (view.kind === "image") return showImage(view);
  return play(view);
}

// A page that a browser renders ahead of a click is not looked at by anybody yet.
if (document.prerendering) document.addEventListener("prerenderingchange", () => start().catch(tellRefusal), { once: true });
else start().catch(tellRefusal);
