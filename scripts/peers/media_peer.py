#!/usr/bin/env python3
"""Times the peers of scripts/bench_media with the arguments and the output of tests/bench/media_speed.cpp.

  media_peer.py caption FILE ROUNDS              pycocoevalcap's Cider and Bleu
  media_peer.py video FILE EVERY ROUNDS          PyAV, and OpenCV's reader: one line each
  media_peer.py images THREADS ROUNDS FILE...    PIL and HF's CLIPImageProcessor (its PIL form)
  media_peer.py remux FROM TO                    FROM's best video stream alone, its packets as they are

Only wanted frames are turned into RGB, as ours are. Both readers get the number of threads in OMP_NUM_THREADS.
"""
import contextlib
import io
import json
import logging
import multiprocessing
import os
import sys
import time

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def seconds_of(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def caption(path, rounds):
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    with open(path) as file:
        items = [json.loads(line) for line in file]
    references = {i: item["references"] for i, item in enumerate(items)}
    candidates = {i: [item["candidate"]] for i, item in enumerate(items)}
    out = {"part": "caption", "images": len(items), "cider_seconds": [], "bleu_seconds": []}
    for _ in range(rounds):
        took, (out["cider"], _) = seconds_of(lambda: Cider().compute_score(references, candidates))
        out["cider_seconds"].append(took)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the lengths
            took, (out["bleu"], _) = seconds_of(lambda: Bleu(4).compute_score(references, candidates, verbose=0))
        out["bleu_seconds"].append(took)
    out["cider"] = float(out["cider"])
    yield out


def pyav_frames(path, every):
    import av
    kept, at, size = 0, 0.0, ()
    waiting = None  # on screen until the next one comes
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = THREADS
        start = None
        for frame in container.decode(stream):
            if not every:
                size = frame.to_ndarray(format="rgb24").shape
                kept += 1
                continue
            start = frame.time if start is None else start
            while waiting is not None and at < frame.time - start:
                size = waiting.to_ndarray(format="rgb24").shape
                kept += 1
                at = every * kept
            waiting = frame
        if every and waiting is not None:
            length = waiting.time - start + float(waiting.duration or 0) * float(waiting.time_base)
            while at < length:
                size = waiting.to_ndarray(format="rgb24").shape
                kept += 1
                at = every * kept
    return kept, size[1], size[0]


def opencv_frames(path, every):
    import cv2
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, THREADS])
    rate, kept, number, frame = capture.get(cv2.CAP_PROP_FPS), 0, 0, None
    while capture.grab():
        if not every or number / rate >= every * kept:  # its clock is the frame count; ours the frames' times
            ok, frame = capture.retrieve()
            cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            kept += 1
        number += 1
    return kept, frame.shape[1], frame.shape[0]


def video(path, every, rounds):
    import av
    import cv2
    cv2.setNumThreads(THREADS)
    for name, version, frames in (("pyav", av.__version__, pyav_frames), ("opencv", cv2.__version__, opencv_frames)):
        out = {"part": "video", "peer": name, "versions": version, "seconds": []}
        for _ in range(rounds):
            took, out["frames"] = seconds_of(lambda: frames(path, every))
            out["seconds"].append(took)
        yield out


def remux(path, to):
    """OpenCV cannot be told which of several streams to read, and takes another than ours and PyAV's `best`."""
    import av
    with av.open(path) as source, av.open(to, "w") as sink:
        stream = source.streams.best("video")
        copy = sink.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                sink.mux(packet)
    yield {"part": "remux", "stream": stream.index}


processor = None


def prepare(picture):
    from PIL import Image
    if isinstance(picture, str):
        with Image.open(picture) as image:
            picture = image.convert("RGB")
    tensor = processor(images=picture, return_tensors="np")["pixel_values"]
    return float(tensor.reshape(-1)[tensor.size // 2])


def images(threads, rounds, paths):
    global processor
    logging.disable(logging.WARNING)
    import PIL
    import transformers
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    processor = CLIPImageProcessorPil()
    decoded = [Image.open(path).convert("RGB") for path in paths]
    out = {"part": "images", "images": len(paths), "file_seconds": [], "pixels_seconds": [],
           "versions": f"Pillow {PIL.__version__}, transformers {transformers.__version__}"}
    # processes, as a DataLoader has: Python's lock would hold threads up; one number an image goes back
    with contextlib.ExitStack() as stack:
        each = map
        if threads > 1:
            pool = stack.enter_context(multiprocessing.get_context("fork").Pool(threads))
            each = lambda work, items: pool.map(work, items, chunksize=8)  # noqa: E731
            each(prepare, paths[:2 * threads])
        by_index = [str(path) for path in paths]
        for _ in range(rounds):
            took, sums = seconds_of(lambda: list(each(prepare, by_index)))
            out["file_seconds"].append(took)
            if threads == 1:  # decoded pixels would have to be sent to the processes
                took, sums = seconds_of(lambda: list(map(prepare, decoded)))
                out["pixels_seconds"].append(took)
    out["sum"] = sum(sums)
    yield out


def main():
    part, *rest = sys.argv[1:]
    if part == "caption":
        lines = caption(rest[0], int(rest[1]))
    elif part == "video":
        lines = video(rest[0], float(rest[1]), int(rest[2]))
    elif part == "remux":
        lines = remux(*rest)
    elif part == "images":
        lines = images(int(rest[0]), int(rest[1]), rest[2:])
    else:
        sys.exit(f"media_peer: expected caption, video or images, got {part}")
    for line in lines:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
