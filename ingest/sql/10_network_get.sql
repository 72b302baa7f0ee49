SELECT network FROM pinned_network
