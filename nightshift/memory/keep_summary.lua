#!lua
-- Let a summary hold from now on, or drop all that there are of a channel.
--
-- q.ref        the channel
-- q.summary    the summary; nothing, to drop them all
-- q.id         what names it; it is kept once
-- q.read       the messages that were read for it
-- q.speakers   the users who said them
-- q.round      what `round` was before the messages for it were read
-- q.keep_ms    how long those before it are kept
-- q.last_ms    how long it holds if none follows
-- Returns kept, known (it was kept already), stale (they were dropped, or another was kept, meanwhile) or dropped
--
-- Safe to repeat.

local key, before = root .. 'summary:' .. q.ref, root .. 'summaries:' .. q.ref
local late, speakers = root .. 'late:' .. q.ref, root .. 'speakers:' .. q.ref

if not q.summary then
  redis.call('HDEL', key, 'summary', 'id', 'at')
  redis.call('DEL', before, speakers)
  -- Whoever has read the messages by now, and comes with a summary of them, comes too late.
  redis.call('HINCRBY', key, 'round', 1)
  redis.call('PEXPIRE', key, 86400000)
  return 'dropped'
end

local row = redis.call('HMGET', key, 'summary', 'id', 'at', 'round')
if row[2] == q.id then return 'known' end
if number(row[4]) ~= q.round then return 'stale' end
if row[1] then redis.call('ZADD', before, row[3], row[1]) end
redis.call('ZREMRANGEBYSCORE', before, '-inf', '(' .. int(now - q.keep_ms))
redis.call('PEXPIRE', before, int(q.keep_ms))
redis.call('HSET', key, 'summary', q.summary, 'id', q.id, 'at', int(now), 'round', int(q.round + 1))
redis.call('PEXPIRE', key, int(q.last_ms))
for _, id in ipairs(q.read) do redis.call('ZREM', late, id) end
-- Each summary goes on from the one before, so whoever's words are in one may be in all that follow.
for _, by in ipairs(q.speakers) do redis.call('SADD', speakers, by) end
redis.call('PEXPIRE', speakers, int(q.last_ms))
return 'kept'
