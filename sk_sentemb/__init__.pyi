# What type checkers read instead of __init__.py, which imports these names lazily.
from sk_sentemb._training import FineTuner as FineTuner
from sk_sentemb.cross_encoder import CrossEncoderClassifier as CrossEncoderClassifier
from sk_sentemb.cross_encoder import CrossEncoderScorer as CrossEncoderScorer
from sk_sentemb.embedder import SentenceEmbedder as SentenceEmbedder
from sk_sentemb.encoder import Encoder as Encoder
from sk_sentemb.encoder import load_encoder as load_encoder
from sk_sentemb.encoder import release_models as release_models
from sk_sentemb.end_to_end import SentenceClassifier as SentenceClassifier
from sk_sentemb.end_to_end import SentenceRegressor as SentenceRegressor
from sk_sentemb.hard_negatives import mine_hard_negatives as mine_hard_negatives
from sk_sentemb.image import ImageEmbedder as ImageEmbedder
from sk_sentemb.pair_features import PairFeatures as PairFeatures
from sk_sentemb.pair_features import PairSimilarity as PairSimilarity
from sk_sentemb.preprocessing import TextCleaner as TextCleaner
from sk_sentemb.preprocessing import make_multimodal_transformer as make_multimodal_transformer
from sk_sentemb.preprocessing import text_column_selector as text_column_selector
from sk_sentemb.retrieval import SemanticIndex as SemanticIndex
from sk_sentemb.retrieval import SemanticRetriever as SemanticRetriever
from sk_sentemb.retrieval import mine_translations as mine_translations

__version__: str
