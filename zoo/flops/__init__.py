"""What a network costs: `from zoo.flops import profile`."""

from zoo.flops.count import profile as profile
from zoo.flops.figures import Layer as Layer
from zoo.flops.figures import Profile as Profile
