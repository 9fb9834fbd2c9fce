"""A run keeps the version it began with, so a version's step names, order and pivot never change once released."""

from provisioning.workflows import WORKFLOWS

RELEASED = {
    ("delete", 1): "92def1b5d1d8d2faa5627a009267039d15673ecfe86f17bee4d1d862648fc2cb",
    ("check erasure", 1): "507d2bb455664d2ee0e098a47c6362a7a6e1367cb22ea224181f4e035ab8c4f4",
    ("drift repair", 1): "a1a14ff4aab4f1d3efbe2f3fe8e32ec686289ba95e5b2fc3e1f38052d64da522",
    ("erase", 1): "36dddfd2d636505797fef91efb511f5a90ae87fc9b5b1e388c643c6f95b62092",
    ("erase again", 1): "001aaa3a21e3cac6545fc4c73b191571fe90504387cdaad7ced82354dac7a3a9",
    ("plan erasure", 1): "6c35493a2b937829c9815c39e23af964bc84e5430a7dc104c700bbc0de2b59e3",
    ("export", 1): "aba7533ad4d25641c42e58b5f2c7128ca265453a90b3e91be7545442b3e8f8dd",
    ("onboard", 1): "c12a9bc425cba7e1a45ab4ec6f1b4ce2233a46619cc060a42cab90261ad365f8",
    ("replay erasure", 1): "2f864098288a91f74c07db30c2c504307ba1f51c110aa0ed24f447b9d12feada",
    ("resume", 1): "14d674d273b2f99f9ea1b5f529d0ea142c71238261a30f22eb2b26bc86d1e9bd",
    ("rollout", 1): "402bc1e562a60425c4c38f53b9f82c11ccd9e15a9f39077caefe8b2218a94a69",
    ("rollout lane", 1): "a2bd9319dccc079859b9fed76e9e2df644bf6dfb32cf96cf075f2d62fffc389f",
    ("rollout rehearsal", 1): "017c3548afaae5f6b5193abd03a11b31bd57b05ac1888d9538c1cf64bd983a14",
    ("rotate credentials", 1): "1f4a92f42a68fcdc72e7cfb9bd5b6239ecd2c7a59c8a1e2623334728199c195c",
    ("suspend", 1): "b14d9cff5688ec772917337f35bd9db91f8afacb716bfd44596b11a0d407c505",
    ("undelete", 1): "21844a40a607719ed0b5bd7f6d86009a3c3d50caada8178ba1a41fe8004fe439",
}
"""SHA-256 of each version's shape. A changed digest means: raise the version, keep the old one listed, add a line."""


def test_no_released_version_has_changed_its_shape() -> None:
    assert {key: workflow.digest for key, workflow in WORKFLOWS.items()} == RELEASED


def test_each_workflow_is_listed_under_its_own_name_and_version() -> None:
    assert {key: workflow.key for key, workflow in WORKFLOWS.items()} == {key: key for key in WORKFLOWS}
