// The directory versions has the modules, at the versions that are tested.
module dphub.test/nodetools
