"""What an exported file says of itself."""

from __future__ import annotations

import hashlib
import json

from exported_cases import MEAN, STD, TINY, run_folder

from kd_runner.deploy.exportable import load_exportable
from kd_runner.deploy.metadata import input_in_words, metadata


def test_input_classes_rule_and_origin_without_a_path_of_the_machine(tmp_path):
    run = run_folder(tmp_path / "run")
    exportable = load_exportable(run)
    texts = metadata(exportable, "int8", "nhwc")
    assert texts["input"] == "bytes of images, uint8 [N, 8, 8, 1]: the file normalises them"
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


def test_the_input_in_words():
    assert input_in_words((3, 32, 30), None) == "normalised images, float32 [N, 3, 32, 30]"
    assert input_in_words((3, 32, 30), "nchw") == "bytes of images, uint8 [N, 3, 32, 30]: the file normalises them"
