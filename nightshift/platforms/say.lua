-- Puts a message into a room, once for each key however often it is asked.
-- KEYS: the room's stream, the index of rooms, what this key was said as.
-- ARGV: the room's name, the message as JSON, how many messages are kept, for how many seconds a key is known.
-- Returns the message's id.
local known = redis.call('GET', KEYS[3])
if known then
  return known
end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'said', ARGV[2])
redis.call('ZADD', KEYS[2], string.match(id, '^%d+'), ARGV[1])
redis.call('SET', KEYS[3], id, 'EX', ARGV[4])
return id
