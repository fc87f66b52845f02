// One clock for all videos of an episode: they follow it, and it waits for those that lack data.
//
// A frame is shown by seeking to its middle, so that rounding never gives its neighbour. While it
// plays, a video that is off by more than a third of a frame runs slightly faster or slower, and one
// that is far off is moved.

const FAR_S = 0.3;
const CORRECTION = 0.15;
const { HAVE_CURRENT_DATA, HAVE_FUTURE_DATA } = HTMLMediaElement;

export class EpisodeClock {
  // `changed` is called with the frame whenever it, or what is waited for, is another.
  constructor({ changed }) {
    this.changed = changed;
    this.speed = 1;
    this.videos = [];
    this.images = [];
    this.reset(30, 1);
  }

  reset(fps, frames) {
    this.pause();
    this.fps = fps;
    this.frames = frames;
    this.videos = [];
    this.images = [];
    this.at_s = 0;
    this.waiting = false;
  }

  add(video, from_s) {
    this.videos.push({ video, from_s });
    this.#place();
  }

  // Pictures of single frames: `has(frame)` says whether one is there, and is waited for.
  addImages(images) {
    this.images.push(images);
  }

  removeImages(images) {
    this.images = this.images.filter((each) => each !== images);
  }

  remove(video) {
    this.videos = this.videos.filter((each) => each.video !== video);
  }

  get frame() {
    return Math.min(Math.floor(this.at_s * this.fps + 1e-6), this.frames - 1);
  }

  play() {
    if (this.playing) return;
    if (this.frame >= this.frames - 1) this.at_s = 0;
    this.playing = true;
    this.since = performance.now();
    this.#place();
    this.#turn(this.since);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    cancelAnimationFrame(this.next);
    for (const { video } of this.videos) video.pause();
    this.seek(this.frame);
  }

  seek(frame) {
    this.at_s = Math.max(0, Math.min(frame, this.frames - 1)) / this.fps;
    this.since = performance.now();
    this.#place();
    this.changed();
  }

  // The seeks of an earlier frame may be under way: a video does the newest when it is done.
  #place() {
    for (const { video, from_s } of this.videos) video.currentTime = from_s + (this.frame + 0.5) / this.fps;
  }

  #turn(now) {
    if (!this.playing) return;
    const before = [this.frame, this.waiting];
    this.waiting = this.videos.some(({ video }) => this.#lacks(video)) || this.images.some((each) => !each.has(this.frame));
    if (!this.waiting) this.at_s += Math.max(0, (now - this.since) / 1000) * this.speed;
    this.since = now;
    if (this.at_s * this.fps >= this.frames) {
      this.at_s = (this.frames - 1) / this.fps;
      this.pause();
      return;
    }
    for (const each of this.videos) this.#follow(each);
    if (before[0] !== this.frame || before[1] !== this.waiting) this.changed();
    this.next = requestAnimationFrame((later) => this.#turn(later));
  }

  // At its end a video has no future data.
  #lacks(video) {
    if (video.seeking || video.readyState < HAVE_CURRENT_DATA) return true;
    return video.readyState < HAVE_FUTURE_DATA && video.currentTime < video.duration - 2 / this.fps;
  }

  #follow({ video, from_s }) {
    if (this.waiting) {
      if (!video.paused) video.pause();
      return;
    }
    if (video.paused) video.play().catch(() => { this.waiting = true; });
    const ahead_s = video.currentTime - from_s - this.at_s - 0.5 / this.fps;
    if (Math.abs(ahead_s) > Math.max(FAR_S, 2 / this.fps) * Math.max(1, this.speed)) {
      video.currentTime = from_s + this.at_s + 0.5 / this.fps;
      return;
    }
    const off = Math.abs(ahead_s) > 0.33 / this.fps ? Math.sign(ahead_s) * CORRECTION : 0;
    const rate = this.speed * (1 - off);
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }
}
