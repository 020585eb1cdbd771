"""What an exported file says of itself."""

from __future__ import annotations

import hashlib
import json

from exported_cases import MEAN, STD, TINY, run_folder

from kd_runner.datasets.decoding.image_input import input_of_images
from kd_runner.deploy.export.exportable import load_exportable
from kd_runner.deploy.export.metadata import input_in_words, metadata


def test_input_classes_rule_and_origin_without_a_path_of_the_machine(tmp_path):
    run = run_folder(tmp_path / "run")
    exportable = load_exportable(run)
    texts = metadata(exportable, "int8", "nhwc")
    assert (
        texts["input"] == "bytes of images, gray, uint8 [N, 8, 8, 1]: the caller resizes and cuts, the file normalises"
    )
    assert texts["output"] == "logits, float32 [N, 10]: a softmax makes them probabilities"
    assert json.loads(texts["classes"]) == list("0123456789")
    rule = json.loads(texts["preprocessing"])
    assert (rule["image_shape"], rule["mean"], rule["std"]) == ([1, 8, 8], MEAN, STD)
    assert (rule["color"], rule["resize"], rule["crop"], rule["divisor"]) == ("gray", "cover", "middle", 255)
    assert rule["normalised_in_the_graph"] is True
    origin = json.loads(texts["provenance"])
    assert origin["run"] == {"fingerprint": "0123456789abcdef", "overrides": ["dataset=digits"]}
    assert origin["weights_sha256"] == hashlib.sha256((run / "student_last.safetensors").read_bytes()).hexdigest()
    assert origin["quantize"] == "int8"
    assert json.loads(texts["kd_runner"])["network"] == TINY
    assert str(tmp_path) not in json.dumps(texts)
    assert "somebody" not in json.dumps(texts)


def test_the_run_is_that_of_the_weights_and_not_one_that_lends_images(tmp_path):
    run, other = run_folder(tmp_path / "run"), run_folder(tmp_path / "other", seed=1)
    model = tmp_path / "model.safetensors"
    for source, expected in ((run, "0123456789abcdef"), (other, None)):
        model.write_bytes((source / "student_last.safetensors").read_bytes())
        texts = metadata(load_exportable(model, run=run), None, None)
        origin = json.loads(texts["provenance"])["run"]
        assert (origin and origin["fingerprint"]) == expected


def test_the_input_in_words_says_what_is_left_to_the_caller():
    image_input = input_of_images((3, 32, 30), ["a", "b"], [0.0] * 3, [1.0] * 3)
    assert input_in_words(image_input, None, False) == (
        "normalised images, float32 [N, 3, 32, 30]: the caller resizes, cuts and normalises, as in preprocessing"
    )
    assert input_in_words(image_input, "nchw", False) == (
        "bytes of images, rgb, uint8 [N, 3, 32, 30]: the caller resizes and cuts, the file normalises"
    )
    assert input_in_words(image_input, "nhwc", True) == (
        "bytes of upright, opaque pictures of any size, rgb, uint8 [N, height, width, 3]: the file does the rest"
    )
