// Controls and keys of the player: play, seek, speed, frames, sound, full screen.

const STEP_S = 5;
const RATES = [0.25, 0.5, 1, 1.5, 2, 4, 8];
const REVERSE_MS = 120; // playing backwards is stepping: browsers know no negative rate

const pad = (number, width = 2) => String(Math.floor(number)).padStart(width, "0");

/** `m:ss.mmm`, with hours where there are any. */
export function clock(seconds, milliseconds = true) {
  const safe = Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
  const whole = Math.floor(safe);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const head = hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
  return milliseconds ? `${head}.${pad((safe - whole) * 1000, 3)}` : head;
}

/** Wall clock in Beijing time, whatever the zone of the reader's machine. */
function wallClock(startedMs, seconds) {
  return new Date(startedMs + seconds * 1000 + 8 * 3600_000).toISOString().slice(0, 19).replace("T", " ");
}

export class Transport {
  #frames = null;
  #reverse = 0;
  #seeking = false;
  #stepping = Promise.resolve();
  #wanted = -1;
  #toastTimer = 0;

  constructor(root, video, words) {
    this.root = root;
    this.video = video;
    this.words = words;
    this.started = root.dataset.started === "" ? null : Number(root.dataset.started);
    this.#wireButtons();
    this.#wireVideo();
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#paint();
  }

  part(name) {
    return this.root.querySelector(`[data-${name}]`);
  }

  useFrames(frames) {
    this.#frames = frames;
    for (const button of this.root.querySelectorAll("[data-frames]")) {
      button.disabled = frames === null;
      if (frames === null) button.title = this.words.no_frames;
    }
    this.root.dataset.frameCount = frames === null ? "" : String(frames.count);
    this.#paint();
  }

  toast(text) {
    const toast = this.part("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => { toast.hidden = true; }, 2500);
  }

  toggle() {
    this.#stopReverse();
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  seek(seconds) {
    this.#stopReverse();
    this.#wanted = -1;
    this.video.currentTime = Math.max(0, Math.min(this.video.duration || 0, seconds));
    this.#paint();
  }

  /** Steps by whole frames; steps asked for while one is under way add up and none is lost. */
  step(count) {
    if (this.#frames === null) return this.#stepping;
    this.video.pause();
    const from = this.#wanted >= 0 ? this.#wanted : this.#frames.at(this.video.currentTime);
    this.#wanted = Math.max(0, Math.min(this.#frames.count - 1, from + count));
    const target = this.#wanted;
    this.#stepping = this.#stepping.then(async () => {
      if (target !== this.#wanted) return;
      const shown = await this.#frames.show(this.video, target);
      this.root.dataset.frameShown = String(shown);
      if (target === this.#wanted) this.#wanted = -1;
      this.#paint();
    });
    return this.#stepping;
  }

  rate(direction) {
    const at = RATES.indexOf(this.video.playbackRate);
    if (direction < 0 && (this.#reverse || at <= 0)) return this.#startReverse();
    if (direction > 0 && this.#reverse) return this.#stopReverse();
    this.#setRate(RATES[Math.max(0, Math.min(RATES.length - 1, at + direction))]);
    if (this.video.paused) this.video.play().catch(() => {});
    return undefined;
  }

  #setRate(rate) {
    this.video.playbackRate = rate;
    this.part("speed").value = String(rate);
    this.toast(`${rate}×`);
  }

  #startReverse() {
    if (this.#reverse || this.#frames === null) return;
    this.video.pause();
    this.toast("◀ 1×");
    this.#reverse = setInterval(() => {
      const frame = this.#frames.at(this.video.currentTime);
      if (frame === 0) this.#stopReverse();
      else this.step(-Math.max(1, Math.round(REVERSE_MS / 1000 / this.#frameLength(frame))));
    }, REVERSE_MS);
  }

  #frameLength(frame) {
    const { times } = this.#frames;
    return Math.max(0.005, times[frame] - times[Math.max(0, frame - 1)] || 0.04);
  }

  #stopReverse() {
    clearInterval(this.#reverse);
    this.#reverse = 0;
  }

  #wireButtons() {
    const acts = {
      toggle: () => this.toggle(),
      back: () => this.step(-1),
      forward: () => this.step(1),
      mute: () => { this.video.muted = !this.video.muted; },
      fullscreen: () => this.fullscreen(),
      help: () => this.part("help").showModal(),
    };
    for (const button of this.root.querySelectorAll("[data-act]")) {
      button.addEventListener("click", acts[button.dataset.act]);
    }
    const seek = this.part("seek");
    seek.addEventListener("input", () => {
      this.#seeking = true;
      this.seek((Number(seek.value) / 1000) * (this.video.duration || 0));
    });
    seek.addEventListener("change", () => { this.#seeking = false; });
    this.part("volume").addEventListener("input", (event) => {
      this.video.volume = Number(event.target.value);
      this.video.muted = this.video.volume === 0;
    });
    this.part("speed").addEventListener("change", (event) => {
      this.#stopReverse();
      this.#setRate(Number(event.target.value));
    });
    this.video.addEventListener("click", () => this.toggle());
  }

  #wireVideo() {
    for (const name of ["timeupdate", "seeked", "play", "pause", "volumechange", "durationchange", "ratechange"]) {
      this.video.addEventListener(name, () => this.#paint());
    }
    const everyFrame = () => {
      this.#paint();
      this.video.requestVideoFrameCallback(everyFrame);
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(everyFrame);
  }

  #paint() {
    const { video } = this;
    const duration = Number.isFinite(video.duration) ? video.duration : 0;
    const now = video.currentTime;
    this.part("time").textContent = clock(now);
    this.part("duration").textContent = duration ? clock(duration) : "";
    this.part("wall").textContent = this.started === null ? "" : wallClock(this.started, now);
    this.part("frame").textContent = this.#frames === null ? "" : this.words.frame
      .replace("{number}", String(this.#frames.at(now) + 1)).replace("{count}", String(this.#frames.count));
    this.#paintSeek(now, duration);
    const volume = this.part("volume");
    volume.value = String(video.muted ? 0 : video.volume);
    volume.style.setProperty("--at", `${volume.value * 100}%`);
    this.#label("toggle", !video.paused, this.words.pause, this.words.play, "K");
    this.#label("mute", video.muted, this.words.unmute, this.words.mute, "M");
  }

  #paintSeek(now, duration) {
    const seek = this.part("seek");
    const at = duration ? Math.min(1, now / duration) : 0;
    if (!this.#seeking) seek.value = String(at * 1000);
    seek.style.setProperty("--at", `${at * 100}%`);
    seek.setAttribute("aria-valuetext", `${clock(now, false)} / ${clock(duration, false)}`);
  }

  #label(act, on, onWords, offWords, key) {
    const button = this.root.querySelector(`[data-act=${act}]`);
    const text = on ? onWords : offWords;
    if (button.getAttribute("aria-label") === text) return;
    button.classList.toggle("on", on);
    button.setAttribute("aria-label", text);
    button.title = `${text} (${key})`;
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.part("stage").requestFullscreen?.().catch(() => {});
  }

  #volume(step) {
    this.video.muted = false;
    this.video.volume = Math.max(0, Math.min(1, this.video.volume + step));
  }

  #key(event) {
    const target = event.target;
    const elsewhere = target instanceof Element && target.closest("input:not([type=range]), select, textarea, dialog");
    if (elsewhere || event.ctrlKey || event.metaKey || event.altKey) return;
    const onButton = target instanceof Element && target.closest("button, a, summary");
    const acts = {
      " ": onButton ? null : () => this.toggle(),
      k: () => this.toggle(),
      j: () => this.rate(-1),
      l: () => this.rate(1),
      ",": () => this.step(-1),
      ".": () => this.step(1),
      ArrowLeft: () => this.seek(this.video.currentTime - STEP_S),
      ArrowRight: () => this.seek(this.video.currentTime + STEP_S),
      ArrowUp: () => this.#volume(0.1),
      ArrowDown: () => this.#volume(-0.1),
      Home: () => this.seek(0),
      End: () => this.seek(this.video.duration || 0),
      m: () => { this.video.muted = !this.video.muted; },
      f: () => this.fullscreen(),
      "?": () => this.part("help").showModal(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
