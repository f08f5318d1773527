#!lua
-- Forget what was said in one channel, or by one user in it, and keep it from coming back.
--
-- q.ref     the channel; nothing, to forget no message yet
-- q.by      the user as UserRef writes it; nothing, for the channel with all that is known of it
-- q.dry     count only
-- Returns how many messages
--
-- Safe to repeat. The instant up to which all is forgotten only grows, and is set before anything goes.

local FORGOTTEN = root .. 'forgotten'
local name = q.by and 'user:' .. redis.sha1hex(q.by) or 'channel:' .. q.ref

local function forget_up_to(at)
  local known = tonumber(redis.call('HGET', FORGOTTEN, name)) or 0
  if at > known then redis.call('HSET', FORGOTTEN, name, int(at)) end
end

if not q.dry then forget_up_to(now) end
if not q.ref then return 0 end

local order, gone = root .. 'messages:' .. q.ref, 0
for _, id in ipairs(redis.call('ZRANGE', order, 0, -1)) do
  local key = root .. 'message:' .. q.ref .. ':' .. id
  local row = redis.call('HMGET', key, 'by', 'at')
  if not q.by or row[1] == q.by then
    gone = gone + 1
    if not q.dry then
      -- A platform whose clock is ahead of ours may have sent it after this instant.
      forget_up_to(number(row[2]))
      redis.call('DEL', key)
      redis.call('ZREM', order, id)
      redis.call('ZREM', root .. 'late:' .. q.ref, id)
      redis.call('ZREM', root .. 'unembedded', q.ref .. ' ' .. id)
      if row[1] and not q.by then redis.call('SREM', root .. 'user:' .. row[1], q.ref) end
    end
  end
end
if q.dry then return gone end
if q.by then
  redis.call('SREM', root .. 'user:' .. q.by, q.ref)
else
  redis.call('DEL', root .. 'channel:' .. q.ref)
  redis.call('ZREM', root .. 'channels', q.ref)
end
return gone
