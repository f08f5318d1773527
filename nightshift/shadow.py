"""Shadow: everything is decided, nothing is said."""

#: The switch; while it is on, deliveries are written down and kept back.
SHADOW = "shadow"
#: The switch that lets models be asked meanwhile.
CALLS = "shadow_calls"
#: Why a delivery that shadow kept back was suppressed.
REASON = "shadow"
