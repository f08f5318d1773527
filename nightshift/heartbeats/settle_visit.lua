#!lua
-- Note what came of a look into a channel; after a failure, try again sooner or later than usual.
--
-- q.channel, q.fields      what to keep of it
-- q.generation, q.next     place the next visit then, unless another was placed meanwhile
-- Returns 1 if the channel is visited at all.
--
-- Safe to repeat: the visit that was placed is another generation.

local key = visit_key(q.channel)
local generation = redis.call('HGET', key, 'generation')
if not generation then return 0 end
if q.next then
  if generation ~= q.generation then return 1 end
  place_visit(q.channel, tonumber(q.next))
end
for field, value in pairs(q.fields) do redis.call('HSET', key, field, value) end
return 1
