from .data.base import DataModule as DataModule
from .flops import profile as profile
from .models._create import create_model as create_model
from .models._entries import get_weights as get_weights
from .models._inflate import inflate as inflate
from .models._list import list_models as list_models
from .run.trained import Prediction as Prediction
from .run.trained import Trained as Trained
from .run.trained import load as load
from .tasks.base import Task as Task

__version__: str
