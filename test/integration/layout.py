#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI layout whose layers are given tars, so that every byte of them may be wrong.

    layout.py DIR LAYER...      LAYER is [CODEC[+TYPE]:]FILE

CODEC is tar (the default), gzip or zstd: how FILE, a tar, is stored. TYPE replaces the media type's
ending: tar, tar+gzip, tar+zstd, or anything else as a whole. "raw" stores FILE as it is and makes
its diff_id from it; "packed" makes it from what gzip or zstd unpack of it. The image is DIR:latest,
its config the JSON in $IMAGE_CONFIG.
"""
import gzip
import hashlib
import json
import os
import subprocess
import sys

LAYER = "application/vnd.oci.image.layer.v1."


def put(directory, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(directory, "blobs/sha256", digest), "wb") as file:
        file.write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def pack(codec, data):
    if codec == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if codec == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    return data


def unpack(data):
    tool = "gzip" if data[:2] == b"\x1f\x8b" else "zstd"
    return subprocess.run([tool, "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def add_layer(directory, text):
    codec, _, path = text.rpartition(":")
    codec, _, media = (codec or "tar").partition("+")
    endings = {"tar": "tar", "raw": "tar", "packed": "tar+gzip", "gzip": "tar+gzip", "zstd": "tar+zstd"}
    with open(path, "rb") as file:
        data = file.read()
    media = media or endings[codec]
    layer = put(directory, pack(codec, data))
    layer["mediaType"] = media if "/" in media else LAYER + media
    layer_bytes = unpack(data) if codec == "packed" else data
    return layer, "sha256:" + hashlib.sha256(layer_bytes).hexdigest()


def main():
    directory, texts = sys.argv[1], sys.argv[2:]
    os.makedirs(os.path.join(directory, "blobs/sha256"), exist_ok=True)
    layers = [add_layer(directory, text) for text in texts]
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = put(directory, json.dumps({
        "architecture": arch, "os": "linux",
        "config": json.loads(os.environ.get("IMAGE_CONFIG", "{}")),
        "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]}}).encode())
    config["mediaType"] = "application/vnd.oci.image.config.v1+json"
    manifest = put(directory, json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer for layer, _ in layers]}).encode())
    manifest["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    with open(os.path.join(directory, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
    with open(os.path.join(directory, "oci-layout"), "w") as file:
        file.write('{"imageLayoutVersion": "1.0.0"}')


main()
