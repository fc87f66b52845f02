// Whether this browser plays a codec, in words for a person.

const CODECS = {
  h264: ["H.264", 'video/mp4; codecs="avc1.640028"'],
  av1: ["AV1", 'video/mp4; codecs="av01.0.08M.08"'],
  hevc: ["HEVC (H.265)", 'video/mp4; codecs="hvc1.1.6.L120.B0"'],
};

// Empty if it plays it, or if that is not known before it is tried.
export function cannotPlay(codec, reason = "") {
  const [name, type] = CODECS[codec] ?? [codec || "this codec", ""];
  const refused = type && document.createElement("video").canPlayType(type) === "";
  if (!refused && !reason) return "";
  if (refused && codec !== "h264") {
    return `the video is ${name}, which this browser does not play. Another browser may; \`actorctl dataset transcode\` makes it AV1, which most do.`;
  }
  return `this browser cannot play it (${name}): ${reason || "it has no decoder for it"}`;
}
