#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Check config.json files against the OCI runtime specification's JSON schema, which Debian ships with the
specification's Go package. Beyond the schema: every key that the documents have must be one that it knows.

    oci_schema.py FILE...
"""
import json
import pathlib
import sys

import jsonschema

SCHEMA = pathlib.Path("/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema")


def load(uri):
    return json.loads((SCHEMA / uri.rsplit("/", 1)[1]).read_text())


def unknown_keys(schema, resolver, doc, path):
    """Keys of doc that none of the schema's parts names."""
    if "$ref" in schema:
        with resolver.resolving(schema["$ref"]) as part:
            yield from unknown_keys(part, resolver, doc, path)
        return
    for part in schema.get("allOf", []):
        if not isinstance(doc, dict):
            yield from unknown_keys(part, resolver, doc, path)
    if isinstance(doc, list):
        items = schema.get("items", {})
        for i, item in enumerate(doc):
            yield from unknown_keys(items, resolver, item, f"{path}[{i}]")
    elif isinstance(doc, dict) and "properties" in schema:
        known = schema["properties"]
        for key, value in doc.items():
            if key not in known and "patternProperties" not in schema:
                yield f"{path}.{key}: the specification has no such key"
            elif key in known:
                yield from unknown_keys(known[key], resolver, value, f"{path}.{key}")


def main():
    schema = json.loads((SCHEMA / "config-schema.json").read_text())
    base = (SCHEMA / "config-schema.json").as_uri()
    resolver = jsonschema.RefResolver(base, schema, handlers={"file": load})
    validator = jsonschema.validators.validator_for(schema)(schema, resolver=resolver)
    bad = 0
    for name in sys.argv[1:]:
        doc = json.loads(pathlib.Path(name).read_text())
        for error in validator.iter_errors(doc):
            where = ".".join(str(p) for p in error.absolute_path)
            print(f"{name}: {where}: {error.message[:300]}")
            bad = 1
        for text in unknown_keys(schema, resolver, doc, ""):
            print(f"{name}: {text}")
            bad = 1
    return bad


sys.exit(main())
