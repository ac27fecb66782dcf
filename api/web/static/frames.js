// Exact frames: the table of presentation times, and a seek that is verified against what was really shown.
//
// Browsers show the frame whose interval holds currentTime, so we seek to the middle of the interval; arithmetic with
// 1/fps skips and doubles frames. A stray frame (about one in 300 under load) is noticed and sought again.

const TRIES = 3;
const WAIT_MS = 1500;

export class Frames {
  /** @param {number[]} times presentation times in seconds, ascending; `end` closes the last interval */
  constructor(times, end) {
    this.times = times;
    this.end = end;
  }

  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) return null;
    const { timescale, start, runs } = await answer.json();
    const times = [];
    let tick = start;
    for (const [gap, count] of runs) {
      for (let each = 0; each < count; each += 1) {
        times.push(tick / timescale);
        tick += gap;
      }
    }
    return times.length > 1 ? new Frames(times, tick / timescale) : null;
  }

  get count() {
    return this.times.length;
  }

  /** The number of the frame that is on the screen at a media time. */
  at(time) {
    let low = 0;
    let high = this.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= time + 1e-4) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  middle(number) {
    const next = number + 1 < this.times.length ? this.times[number + 1] : this.end;
    return (this.times[number] + Math.max(next, this.times[number] + 0.002)) / 2;
  }

  /** Shows exactly this frame; resolves to the number of the frame that was shown. */
  async show(video, number) {
    const wanted = Math.max(0, Math.min(this.count - 1, number));
    let shown = -1;
    for (let attempt = 0; attempt < TRIES && shown !== wanted; attempt += 1) {
      shown = this.at(await seekAndSee(video, this.middle(wanted)));
    }
    return shown;
  }
}

/** Seeks and waits for both: the seek is over, and a frame was really composed. Resolves to that frame's media time. */
function seekAndSee(video, time) {
  return new Promise((resolve) => {
    let seeked = false;
    let mediaTime = null;
    const timer = setTimeout(() => done(video.currentTime), WAIT_MS);
    const done = (value) => {
      clearTimeout(timer);
      video.removeEventListener("seeked", onSeeked);
      if (callback) video.cancelVideoFrameCallback(callback);
      resolve(value);
    };
    const check = () => {
      if (seeked && mediaTime !== null) done(mediaTime);
    };
    const onSeeked = () => {
      seeked = true;
      if (!video.requestVideoFrameCallback) mediaTime = video.currentTime;
      check();
    };
    let callback = video.requestVideoFrameCallback?.((_now, frame) => {
      mediaTime = frame.mediaTime;
      callback = 0;
      check();
    });
    video.addEventListener("seeked", onSeeked);
    video.currentTime = time;
  });
}
