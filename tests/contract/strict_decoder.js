// SPDX-License-Identifier: Apache-2.0
// strict_decoder.js NODE_MODULES PROTO_FOLDER FRAMES: reads frames (4 bytes of length, body) and
// decodes each with protobuf.js. A frame that holds an unknown field, a field twice or a string
// that is not UTF-8 does not survive decoding and encoding with its length. Prints the kinds seen.
"use strict";

const fs = require("fs");
const path = require("path");

const [modules, folder, frames] = process.argv.slice(2);
const protobuf = require(path.join(modules, "protobufjs"));

const root = new protobuf.Root();
root.resolvePath = (origin, target) => path.join(folder, target);
root.loadSync("eventbus/v1/eventbus.proto");
const Frame = root.lookupType("eventbus.v1.Frame");
const utf8 = new TextDecoder("utf-8", { fatal: true });

function fail(index, why) {
  console.error(`frame ${index}: ${why}`);
  process.exit(1);
}

// Every string of the schema, from the bytes: protobuf.js itself repairs silently.
function checkText(type, bytes, index) {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    if (!field) {
      fail(index, `unknown field ${tag >>> 3} in ${type.name}`);
    }
    if ((tag & 7) !== 2) {
      reader.skipType(tag & 7);
      continue;
    }
    const part = reader.bytes();
    if (field.map) {
      const entry = protobuf.Reader.create(part);
      while (entry.pos < entry.len) {
        entry.uint32();
        utf8.decode(entry.bytes());
      }
    } else if (field.type === "string") {
      utf8.decode(part);
    } else if (field.resolve().resolvedType instanceof protobuf.Type) {
      checkText(field.resolvedType, part, index);
    }
  }
}

const data = fs.readFileSync(frames);
const kinds = new Set();
let count = 0;
for (let pos = 0; pos < data.length; count++) {
  const n = data.readUInt32BE(pos);
  const body = data.subarray(pos + 4, pos + 4 + n);
  pos += 4 + n;
  if (body.length !== n) {
    fail(count, "cut short");
  }
  try {
    checkText(Frame, body, count);
    const message = Frame.decode(body);
    const again = Frame.encode(message).finish();
    if (again.length !== n) {
      fail(count, `${n} bytes became ${again.length}: ${JSON.stringify(message)}`);
    }
    if (!message.kind) {
      fail(count, "no kind that the schema knows");
    }
    kinds.add(message.kind);
  } catch (e) {
    fail(count, e.message);
  }
}
console.log([...kinds].sort().join(" "));
