from kd_runner.masking import hide_values


def test_secrets_are_hidden_below_their_keys() -> None:
    content = {"token": "a", "dataset": {"root": "b", "token": "c"}, "root": "d"}
    assert hide_values(content, ["token", "dataset.root"]) == {
        "token": "***",
        "dataset": {"root": "***", "token": "c"},
        "root": "d",
    }
