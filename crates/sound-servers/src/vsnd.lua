-- WirePlumber for tests and the lab: links streams to their sinks, and does nothing that needs a bus or hardware.
components = {}
local function module(name, arguments)
  components[#components + 1] = { "libwireplumber-module-" .. name, type = "module", args = arguments }
end
local function script(name, arguments)
  components[#components + 1] = { name, type = "script/lua", args = arguments }
end
module("si-node")
module("si-audio-adapter")
module("si-standard-link")
module("si-audio-endpoint")
module("default-nodes-api")
module("mixer-api")
module("metadata")
module("default-nodes", { ["use-persistent-storage"] = false })
script("policy-node.lua", { ["move"] = true, ["follow"] = true, ["audio.no-dsp"] = false })
script("restore-stream.lua", { ["properties"] = { ["restore-props"] = true, ["restore-target"] = true } })
script("create-item.lua")
