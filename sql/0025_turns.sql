-- Outbound requests that wait for their queue are looked for partner by partner: one whose queue takes nothing holds up no other.

CREATE INDEX outbound_requests_waiting ON outbound_requests (partner, id) WHERE queued_at IS NULL AND state IN ('pending', 'running');
CREATE INDEX outbound_requests_generation ON outbound_requests (partner, queued_generation)
	WHERE queued_at IS NOT NULL AND state IN ('pending', 'running');
-- outbound_requests_unqueued is what the version before looks by; a later one may drop it.
