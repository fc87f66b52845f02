// A camera whose images are stored one by one: the picture of a frame is fetched when it is shown,
// with those that follow, so that it can be played.

import { ask } from "./stream.js";

const AHEAD = 12;
const KEPT = 240;
const AT_ONCE = 4;

export class EpisodeImages {
  // `failed` is called with the error of a picture, `changed` when one has arrived.
  constructor(image, path, frames, { failed, changed }) {
    Object.assign(this, { image, path, frames, failed, changed });
    this.pictures = new Map();
    this.asked = new Set();
    this.frame = 0;
  }

  has(frame) {
    return this.pictures.has(frame);
  }

  show(frame) {
    this.frame = frame;
    const address = this.pictures.get(frame);
    if (address && this.image.dataset.frame !== String(frame)) {
      this.image.src = address;
      this.image.dataset.frame = frame;
    }
    for (let k = frame; k < Math.min(frame + AHEAD, this.frames) && this.asked.size < AT_ONCE; k += 1) this.#fetch(k);
  }

  close() {
    this.closed = true;
    for (const address of this.pictures.values()) URL.revokeObjectURL(address);
    this.pictures.clear();
  }

  async #fetch(frame) {
    if (this.pictures.has(frame) || this.asked.has(frame) || this.closed) return;
    this.asked.add(frame);
    try {
      const picture = await (await ask(`${this.path}/${frame}`)).blob();
      if (this.closed) return;
      this.pictures.set(frame, URL.createObjectURL(picture));
      this.#forget();
    } catch (error) {
      if (!this.closed) this.failed(error);
      this.close();
      return;
    } finally {
      this.asked.delete(frame);
    }
    this.show(this.frame);
    this.changed();
  }

  // The farthest ones go first.
  #forget() {
    while (this.pictures.size > KEPT) {
      const far = (k) => (k < this.frame ? this.frames + this.frame - k : k - this.frame);
      const farthest = [...this.pictures.keys()].reduce((a, b) => (far(b) > far(a) ? b : a));
      URL.revokeObjectURL(this.pictures.get(farthest));
      this.pictures.delete(farthest);
    }
  }
}
