-- $1 to $7 a notice as reorg_take has it, $8 its entry was acked before
INSERT INTO audit_notice VALUES ($1, $2::bigint, $3::bigint, $4, $5::bigint, $6::bigint, $7::jsonb, $8::boolean)
