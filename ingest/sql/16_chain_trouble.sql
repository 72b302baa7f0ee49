-- A pass of reconciling has failed: $1 the cause, $2 why. For the page.
UPDATE chain_state SET trouble = jsonb_build_object('cause', $1::text, 'why', $2::text, 'at', now())
