#!lua
-- Take in what was said, changed or taken back, and drop what is too much or too old.
--
-- q.channels   [{ref, platform, id, items}], and of each the items as they came:
--              {kind, id, at, by, name, text, origin, reply_to, edited, cut}; kind is new, edited, deleted or own;
--              `by` is the user as UserRef writes it; own is what we sent, so that its echo is known
-- q.tenant, q.agent     whose bot tells it
-- q.messages, q.age_ms, q.ahead_ms, q.unembedded    the limits
-- Returns {words, channels, dropped}: one word for every item (new, edited, deleted, echo, known, or why it was refused),
--         the channels in which a person said something new, and how many messages were dropped
--
-- Safe to repeat: a message that is known with this text is left as it is.

local CHANNELS, UNEMBEDDED, FORGOTTEN = root .. 'channels', root .. 'unembedded', root .. 'forgotten'
local STRAYS = root .. 'unembedded:strays'
local WHOLE = 2 ^ 48

local words, humans, dropped = {}, {}, 0

local function user_key(by) return root .. 'user:' .. by end
local function message_key(c, id) return root .. 'message:' .. c.ref .. ':' .. id end
local function order_key(c) return root .. 'messages:' .. c.ref end
local function late_key(c) return root .. 'late:' .. c.ref end

-- Whether this user is an agent of the tenant's, and which; up to when everything of theirs was forgotten.
local users = {}
local function user(by)
  if by == '' then return {forgotten = -1} end
  if not users[by] then
    users[by] = {
      agent = redis.call('HGET', root .. 'users:own:' .. q.tenant, by) or nil,
      forgotten = tonumber(redis.call('HGET', FORGOTTEN, 'user:' .. redis.sha1hex(by))) or -1,
    }
  end
  return users[by]
end

-- What a message adds to the digest of its channel: taking it away again leaves the digest as it was.
local function weigh(id, text) return tonumber(redis.sha1hex(id .. '\0' .. text):sub(1, 12), 16) end
local function add(c, weight) c.digest = (c.digest + (weight or 0)) % WHOLE end
local function take_away(c, weight) add(c, -(weight or 0)) end

local function wait_for_vector(c, id) redis.call('ZADD', UNEMBEDDED, now, c.ref .. ' ' .. id) end

-- The graph may have an older text of it.
local function stray(c, id) redis.call('ZADD', STRAYS, 'NX', now, c.ref .. ' ' .. id .. '\n' .. c.tenant) end

local function drop(c, id)
  local version = number(redis.call('HGET', message_key(c, id), 'version'))
  redis.call('DEL', message_key(c, id))
  redis.call('ZREM', late_key(c), id)
  if redis.call('ZREM', UNEMBEDDED, c.ref .. ' ' .. id) == 1 and version > 1 then stray(c, id) end
  dropped = dropped + 1
end

local function refusal(c, item)
  if not item.at then return 'not known, and it is not told when it was sent' end
  if item.at > now + q.ahead_ms then return 'from the future' end
  if item.at < now - q.age_ms then return 'too old' end
  if item.at <= c.forgotten or item.at <= user(item.by).forgotten then return 'forgotten' end
end

local function set_text(c, key, item, weight)
  redis.call('HSET', key, 'text', item.text)
  redis.call('HDEL', key, 'embedded', 'cut')
  if item.cut > 0 then redis.call('HSET', key, 'cut', item.cut) end
  redis.call('HINCRBY', key, 'version', 1)
  if weight then redis.call('HSET', key, 'weight', int(weight)) end
end

-- Of those that were sent in the same millisecond, or as a platform that knows only seconds says, the one that
-- is told first comes first.
local SAME_INSTANT = 1024
local function place_of(c, item)
  local before = redis.call('ZCOUNT', order_key(c), int(item.at), '(' .. int(item.at + 1))
  return string.format('%.10f', item.at + math.min(before, SAME_INSTANT - 1) / SAME_INSTANT)
end

local function create(c, key, item, origin, weight)
  local place = place_of(c, item)
  redis.call('HSET', key, 'at', int(item.at), 'place', place, 'origin', origin)
  redis.call('ZADD', order_key(c), place, item.id)
  c.exists = true
  if item.kind == 'deleted' then
    redis.call('HSET', key, 'deleted', int(now), 'version', 1)
    return
  end
  set_text(c, key, item, weight)
  for _, name in ipairs({'by', 'name', 'reply_to'}) do
    if item[name] ~= '' then redis.call('HSET', key, name, item[name]) end
  end
  -- What was said before others were let in stays with those who were there, however late it is told.
  if c.audience and item.at >= c.audience_since then redis.call('HSET', key, 'audience', c.audience) end
  if item.edited then redis.call('HSET', key, 'edited', int(item.edited)) end
  if item.kind == 'own' then redis.call('HSET', key, 'own', 1) end
  if item.by ~= '' then
    redis.call('SADD', user_key(item.by), c.ref)
    redis.call('PEXPIRE', user_key(item.by), int(q.age_ms + q.ahead_ms + 86400000))
  end
  if origin ~= 'human' and origin ~= 'agent' then return end
  wait_for_vector(c, item.id)
  -- Whoever reads on has passed its place, or may be about to.
  if redis.call('ZREVRANK', order_key(c), item.id) > 0 then redis.call('ZADD', late_key(c), place, item.id) end
  c.last_message = math.max(c.last_message, item.at)
  if origin == 'human' then
    c.last_human = math.max(c.last_human, item.at)
    c.human = true
  end
end

-- Who spoke last, now that what was taken for a person's turned out to be ours.
local function look_for_human(c)
  c.last_human = 0
  for _, id in ipairs(redis.call('ZREVRANGE', order_key(c), 0, 99)) do
    local row = redis.call('HMGET', message_key(c, id), 'origin', 'at')
    if row[1] == 'human' then
      c.last_human = tonumber(row[2])
      return
    end
  end
end

local function take(c, item)
  local key = message_key(c, item.id)
  local row = redis.call('HMGET', key, 'at', 'text', 'origin', 'own', 'deleted', 'weight', 'edited')
  local at, text, origin, own, deleted, weight, edited = unpack(row)
  weight = tonumber(weight) or nil

  if not at then
    if item.kind == 'deleted' or item.kind == 'edited' then stray(c, item.id) end
    if item.kind == 'deleted' then item.at = item.at or now end
    if item.kind == 'edited' and item.by == '' then item.at = nil end
    local why = refusal(c, item)
    if why then return why end
    local agent = user(item.by).agent
    origin = item.origin
    if agent and origin == 'human' then origin = 'agent' end
    -- What the channel's own agent says is no reason for it to think again.
    if item.kind ~= 'own' and item.kind ~= 'deleted' and (origin == 'human' or origin == 'agent' and agent ~= c.agent) then
      weight = weigh(item.id, item.text)
      add(c, weight)
    end
    create(c, key, item, origin, weight)
    return item.kind == 'own' and 'new' or item.kind
  end

  if deleted then return 'known' end

  if item.kind == 'own' then
    if own then return 'known' end
    take_away(c, weight)
    redis.call('HSET', key, 'own', 1, 'origin', item.origin)
    redis.call('HDEL', key, 'weight')
    if item.origin ~= 'agent' then
      redis.call('ZREM', UNEMBEDDED, c.ref .. ' ' .. item.id)
      stray(c, item.id)
    end
    if origin == 'human' and tonumber(at) == c.last_human then look_for_human(c) end
    return 'echo'
  end

  if item.kind == 'deleted' then
    take_away(c, weight)
    redis.call('HDEL', key, 'text', 'by', 'name', 'reply_to', 'weight', 'embedded', 'cut', 'edited')
    redis.call('HSET', key, 'deleted', int(now))
    redis.call('HINCRBY', key, 'version', 1)
    wait_for_vector(c, item.id)
    return 'deleted'
  end

  if own and item.kind == 'new' then
    if item.by ~= '' then redis.call('HSETNX', key, 'by', item.by) end
    if item.name ~= '' then redis.call('HSETNX', key, 'name', item.name) end
    return 'echo'
  end

  -- Told as new without when it was last changed, it is repaired; but not once it was seen to change.
  local changed = item.edited or item.kind == 'edited' and now or not edited and tonumber(at) or 0
  if item.text == text or changed < tonumber(edited or at) then return 'known' end
  if weight then
    take_away(c, weight)
    weight = weigh(item.id, item.text)
    add(c, weight)
  end
  set_text(c, key, item, weight)
  if item.edited or item.kind == 'edited' then redis.call('HSET', key, 'edited', int(changed)) end
  if origin == 'human' or origin == 'agent' then wait_for_vector(c, item.id) end
  return 'edited'
end

local function drop_what_is_too_much(c)
  local over = redis.call('ZCARD', order_key(c)) - q.messages
  if over > 0 then
    for _, id in ipairs(redis.call('ZRANGE', order_key(c), 0, over - 1)) do drop(c, id) end
    redis.call('ZREMRANGEBYRANK', order_key(c), 0, over - 1)
  end
  local old = redis.call('ZRANGEBYSCORE', order_key(c), '-inf', '(' .. int(now - q.age_ms), 'LIMIT', 0, 100)
  for _, id in ipairs(old) do
    drop(c, id)
    redis.call('ZREM', order_key(c), id)
  end
end

for _, c in ipairs(q.channels) do
  local key = root .. 'channel:' .. c.ref
  local row = redis.call('HMGET', key, 'tenant', 'agent', 'audience', 'is_dm', 'digest', 'last_message_at', 'last_human_at',
    'audience_since')
  c.exists = row[1] and true
  c.tenant, c.agent = row[1] or q.tenant, row[2] or q.agent
  c.audience = row[3] and not row[4] and row[3] or nil
  c.audience_since = number(row[8])
  c.digest = number(row[5])
  c.last_message, c.last_human = number(row[6]), number(row[7])
  c.forgotten = tonumber(redis.call('HGET', FORGOTTEN, 'channel:' .. c.ref)) or -1
  local foreign = row[1] and q.tenant and row[1] ~= q.tenant
  for _, item in ipairs(c.items) do
    words[#words + 1] = foreign and "another tenant's channel" or take(c, item)
  end
  if c.exists then
    if not row[1] then
      redis.call('HSET', key, 'platform', c.platform, 'id', c.id, 'tenant', q.tenant, 'agent', q.agent)
    end
    redis.call('HSET', key, 'digest', int(c.digest), 'last_message_at', int(c.last_message),
      'last_human_at', int(c.last_human))
    redis.call('ZADD', CHANNELS, 'GT', c.last_message, c.ref)
    if c.human then humans[#humans + 1] = c.ref end
    drop_what_is_too_much(c)
  end
end
for _, waiting in ipairs({UNEMBEDDED, STRAYS}) do
  local over = redis.call('ZCARD', waiting) - q.unembedded
  if over > 0 then redis.call('ZPOPMIN', waiting, over) end
end
return {words, humans, dropped}
