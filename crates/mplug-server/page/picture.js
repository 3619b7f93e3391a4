// A picture and all that is known of it. Replies are kept here and nowhere else: what is shown is always one picture's own,
// and a late reply can only ever reach the picture that it is about.

let count = 0;

export class Picture {
  constructor(file) {
    count += 1;
    this.number = count;
    this.file = file;
    /** An address of this tab's memory. */
    this.address = URL.createObjectURL(file);
    /** One entry a caption: what the server said, with `attention` and `ablation` once they are known. */
    this.captions = null;
    this.time = null;
    this.models = [];
    this.failure = null;
    /** Questions with their answers, the newest first. */
    this.answers = [];
    this.comparison = null;
    /** The last call, for "use by API". */
    this.call = null;
    this.controller = null;
  }

  /** The server cannot read it: whatever is asked about it fails, too. */
  get isUnreadable() {
    return [413, 415, 422].includes(this.failure?.status);
  }

  /** The signal that ends this picture's requests when another picture is shown. */
  get signal() {
    if (this.controller === null || this.controller.signal.aborted) this.controller = new AbortController();
    return this.controller.signal;
  }

  /** Ends what is running. */
  stop() {
    this.controller?.abort();
  }

  /** Gives its memory back. */
  forget() {
    this.stop();
    URL.revokeObjectURL(this.address);
  }
}

/** A file to be sent for a picture that has no name, such as one from the clipboard. */
export function named(file) {
  if (file.name) return file;
  const ending = file.type.split("/")[1]?.replace("jpeg", "jpg") ?? "png";
  return new File([file], `picture.${ending}`, { type: file.type });
}
