-- The triples whose triple_vault or triple_term rows differ from their definition. Some may only be under way: to make those anew is right, too.
SELECT keys[1], keys[2] FROM table_difference('triple_vault', 'triple_vault_expected', NULL, 1)
UNION SELECT keys[1], keys[2] FROM table_difference('triple_term', 'triple_term_expected', NULL, 1)
ORDER BY 1, 2
