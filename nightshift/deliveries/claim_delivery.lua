#!lua flags=allow-oom
-- Note that a send begins, or that it surely was not made.
--
-- q.id, q.run         the delivery, and the run that sends it
-- q.claim             names this attempt of that run
-- q.repeatable_ms     for how long the platform makes a send once however often it is asked to
-- q.release           the platform has not taken it: all stands as if this attempt had not been
-- Returns {'claimed' | 'released' | 'ended', row} | {'missing'}
--
-- Where an earlier attempt left no word of how it came out, the send is made again only while the platform would
-- know it again; after that it is unknown. Safe to repeat: the same attempt is given the same claim again.

local key = delivery_key(q.id)
local row = redis.call('HMGET', key, 'state', 'sending_run', 'claimed', 'claimed_at', 'claimed_before')
local state, run, claimed, since = row[1], row[2], row[3], number(row[4])
if not state then return {'missing'} end

local answer = 'ended'
if q.release then
  if state == 'requested' and claimed == q.claim then redis.call('HSET', key, 'claimed', row[5]) end
  answer = 'released'
elseif state == 'requested' and run == q.run then
  if claimed == '' then since = now end
  if claimed == q.claim then
    answer = 'claimed'
  elseif claimed == '' or now < since + q.repeatable_ms then
    redis.call('HSET', key, 'claimed', q.claim, 'claimed_at', int(since), 'claimed_before', claimed)
    answer = 'claimed'
  else
    move_delivery(q.id, 'unknown', 'whoever was sending it left no word of how it came out')
  end
end
return {answer, redis.call('HGETALL', key)}
